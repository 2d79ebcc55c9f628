"""Every rule a config must keep, checked at once and before anything runs."""

import os
import re
from collections.abc import Callable
from typing import Any

from cbam_ablate.config.canonical import (
    NAMING,
    OPTIONS,
    SECTIONS,
    TOP,
    inert_in,
    is_run_key,
    leaves,
    names_published,
)
from cbam_ablate.config.data_rules import (
    crop_rule,
    data_rule,
    images_rule,
    left_out,
    loss_rule,
    moments_rule,
    select_rule,
    show,
)
from cbam_ablate.config.once import Once, each_time
from cbam_ablate.config.output import FigureConfig, width_of
from cbam_ablate.config.own_rules import WITH_OPTIONS, own_options, unread_options
from cbam_ablate.config.schema import (
    DEVICES,
    DataConfig,
    LoggerConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
)
from cbam_ablate.errors import ConfigError
from cbam_ablate.registry import Attention, Backbone, Logger, facts, find, rows

LARGEST = 2**53
"""The whole numbers up to which every one is a number of double precision too."""


def check(cfg: RunConfig) -> RunConfig:
    """Returns the resolved config, or raises one `ConfigError` that lists every violation."""
    found = violations(cfg) or unread_options([cfg])
    if found:
        raise ConfigError("\n".join(found))
    return cfg


def violations(cfg: RunConfig, once: Once = each_time) -> list[str]:
    """One line for each broken rule: the value, the rule and the alternatives."""
    found = [line for field in TOP for line in wrong(field.name, field.metadata, getattr(cfg, field.name))]
    for name in SECTIONS:
        found += once(_wrong_in, name, getattr(cfg, name))
    broken = {line.partition("=")[0] for line in found}
    if any(name in broken for name in NAMING):
        return found
    found += once(images_rule, cfg.data)
    if any(line.partition("=")[0] == "data.root" for line in found):
        return found
    crossed = [line for rule, names in RULES for line in once(rule, *(getattr(cfg, name) for name in names))]
    return found + [line for line in crossed if line.partition("=")[0] not in broken]


def _wrong_in(name: str, section: Any) -> list[str]:
    """What is wrong with the options of one section, each alone."""
    every = leaves(section, f"{name}.")
    return [line for option, field, value in every for line in wrong(option, field.metadata, value)]


def wrong(name: str, rule: Any, value: Any) -> list[str]:
    """What is wrong with an option's value by the schema's `rule` for it alone."""
    if value is None:
        return []
    if value == "???":
        return [f"{name}=???: has no value; pick its group or set it"]
    shown = f"{name}={show(value)}"
    if rule["part"] is not None:
        try:
            find(rule["part"], value, name)
        except ConfigError as error:
            return [str(error)]
    if rule["choices"] is not None:
        given = value if isinstance(value, list) else [value]
        if not given or any(item not in rule["choices"] for item in given):
            return [f"{shown}: not one of {', '.join(map(str, rule['choices']))}"]
        if len(set(given)) < len(given):
            return [f"{shown}: each choice once"]
        return []
    if not isinstance(value, int | float) or isinstance(value, bool):
        return []
    most = next((bound for bound in (rule["high"], rule["below"]) if bound is not None), LARGEST)
    if abs(value) > max(most, LARGEST) and isinstance(value, int):
        return [f"{name}={str(value)[:20]}...: must be at most {show(most)}"]
    bounds = {
        "at least": (rule["low"], lambda bound: value >= bound),
        "at most": (rule["high"], lambda bound: value <= bound),
        "above": (rule["above"], lambda bound: value > bound),
        "below": (rule["below"], lambda bound: value < bound),
    }
    set_bounds = {phrase: bound for phrase, (bound, _) in bounds.items() if bound is not None}
    if all(bounds[phrase][1](bound) for phrase, bound in set_bounds.items()):
        return []
    return [
        f"{shown}: must be {' and '.join(f'{phrase} {show(bound)}' for phrase, bound in set_bounds.items())}"
    ]


def _model(model: ModelConfig) -> list[str]:
    attention, unread = model.attention, inert_in("model", model)
    backbone = find(Backbone, model.backbone)
    found = []
    if not backbone.depths:
        found += [
            f"model.{name}={value}: {model.backbone} "
            f"{'has no such parameter' if backbone.target else 'takes it from the name'}; leave it out"
            for name, value in (("depth", model.depth), ("width", model.width))
            if value is not None and name not in backbone.uses
        ]
    elif model.depth not in backbone.depths:
        legal = ", ".join(map(str, sorted(backbone.depths)))
        found.append(f"model.depth={model.depth}: {model.backbone} comes in depths {legal}")
    found += [
        f"model.{name}=null: backbone={model.backbone} needs it"
        for name in sorted(backbone.needs)
        if getattr(model, name) is None
    ]
    found += [
        f"{name}={show(value)}: backbone={model.backbone} doesn't read it; {left_out(name, field)}"
        for name, field, value in leaves(model, "model.")
        if name.count(".") == 1 and name in unread and value != field.metadata["off"] and name not in OPTIONS
    ]
    found += [
        f"model.attention.{name}={value}: not one of {', '.join(legal)}"
        for part in rows(Attention).values()
        for name, legal in part.choices.items()
        if (value := getattr(attention, name)) is not None and value not in legal
    ]
    if any(kernel < 1 or kernel % 2 == 0 for kernel in attention.kernels):
        found.append(f"model.attention.kernels={show(attention.kernels)}: must be odd, say [3,5,5,7]")
    if attention.kernel % 2 == 0:
        near = f"{max(1, attention.kernel - 1)} or {attention.kernel + 1}"
        found.append(f"model.attention.kernel={attention.kernel}: must be odd, say {near}")
    if attention.at and attention.placement != "at":
        found.append(
            f"model.attention.at={show(attention.at)}: placement={attention.placement} finds its "
            "own places; leave out either"
        )
    if attention.placement == "at" and not attention.at:
        found.append("model.attention.placement=at: name the modules, as in model.attention.at=[layer3.*]")
    if attention.placement == "none":
        if attention.residual != "none":
            found.append(
                f"model.attention.residual={attention.residual}: placement=none has no attention to add to; "
                "pick another placement or residual=none"
            )
        return found
    found += [
        f"model.attention.{name}=null: attention={attention.kind} needs it"
        for name in sorted(find(Attention, attention.kind).needs)
        if getattr(attention, name) is None
    ]
    # The widths of another implementation are in the network alone.
    ours = not find(Attention, attention.kind).target and attention.placement != "at"
    gates = ours and model.widths == "published" and "model.attention.reduction" not in unread
    if gates and model.depth in backbone.depths and model.width:
        factor = model.multiplier if "multiplier" in backbone.uses else 1
        channels = [int(factor * width) for width in backbone.channels(model.depth, model.width)]
        gated = {"class": channels[-1:], "stage": channels[:-1]}.get(attention.placement, channels)
        if attention.ratio > min(gated) and find(Attention, attention.kind).narrowest == 1:
            found.append(
                f"model.attention.reduction={attention.reduction}: at most {min(gated)}, the channels of the "
                f"narrowest map that placement={attention.placement} gates in {model.backbone} "
                f"of width {model.width}"
            )
    return found


def _pretrained(model: ModelConfig, data: DataConfig) -> list[str]:
    if model.pretrained is None:
        return []
    shown = f"model.pretrained={model.pretrained}"
    if not names_published(model.pretrained):
        there = os.path.isfile(os.path.expanduser(model.pretrained))
        return [] if there else [f"{shown}: no such file; give a file of weights, or imagenet"]
    backbone, channels = find(Backbone, model.backbone), facts(data).channels
    if backbone.target:
        return [f"{shown}: nobody publishes weights of backbone={model.backbone} by name; give a file"]
    if not backbone.depths:
        return []
    found = []
    if model.stride_in_1x1:
        found.append(
            f"{shown}: such weights were trained with the stride in the 3x3 convolution; leave out "
            "model.stride_in_1x1=true, or start from fresh weights"
        )
    if not backbone.published:
        others = ", ".join(name for name, row in rows(Backbone).items() if row.published)
        found.append(
            f"{shown}: torchvision has no weights of {model.backbone}; give a file, or one of {others}"
        )
    elif model.depth not in backbone.published or model.width != backbone.width or channels != 3:
        legal = ", ".join(map(str, backbone.published))
        found.append(
            f"{shown}: torchvision has weights of {model.backbone} for depth {legal}, width {backbone.width} "
            f"and 3 channels, not for depth {model.depth}, width {model.width} and {channels} channels; give "
            "a file, or start from fresh weights"
        )
    return found


def _train(train: TrainConfig, schedule: ScheduleConfig) -> list[str]:
    found = []
    if not re.fullmatch(DEVICES, train.device):
        found.append(f"train.device={train.device}: not one of auto, cpu, cuda, cuda:N, mps")
    if schedule.warmup_epochs > train.epochs:
        found.append(
            f"schedule.warmup_epochs={schedule.warmup_epochs:g}: at most train.epochs={train.epochs}"
        )
    marks = schedule.milestones
    if sorted(set(marks)) != marks or not all(0 < mark < 1 for mark in marks):
        found.append(
            f"schedule.milestones={show(marks)}: rising fractions of the run between 0 and 1, say [0.5,0.75]"
        )
    source = train.resume_from
    if source is not None and not is_run_key(source) and not os.path.isfile(source):
        found.append(
            f"train.resume_from={source}: neither a run key (16 hexadecimal digits) nor a checkpoint"
        )
    return found


def _optimizer(optimizer: OptimizerConfig) -> list[str]:
    if optimizer.nesterov and optimizer.name == "sgd" and optimizer.momentum == 0:
        return ["optimizer.nesterov=true: needs optimizer.momentum above 0"]
    return []


def _figure(style: FigureConfig) -> list[str]:
    try:
        width_of(style)
    except ConfigError as error:
        return [str(error)]
    return []


def _logger(logger: LoggerConfig) -> list[str]:
    found = []
    for name, target in logger.own.items():
        try:
            find(Logger, target, f"logger.own.{name}")
        except ConfigError as error:
            found.append(str(error))
    return found


RULES: list[tuple[Callable[..., list[str]], tuple[str, ...]]] = [
    (_model, ("model",)),
    (_pretrained, ("model", "data")),
    (data_rule, ("data", "train")),
    (moments_rule, ("data",)),
    (crop_rule, ("augment", "data")),
    (_train, ("train", "schedule")),
    (select_rule, ("train", "data")),
    (_optimizer, ("optimizer",)),
    (loss_rule, ("loss", "data", "train")),
    (_logger, ("logger",)),
    (_figure, ("figure",)),
    (own_options, WITH_OPTIONS),
]
"""Rules between options, and the sections that each of them reads."""
