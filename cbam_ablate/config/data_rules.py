"""The rules of data sets, losses and selection, which depend on what the images are."""

import math
from dataclasses import Field, replace
from importlib import import_module
from typing import Any

from cbam_ablate.config.canonical import leaves
from cbam_ablate.config.options import spell
from cbam_ablate.config.schema import AugmentConfig, DataConfig, LossConfig, TrainConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.registry import Dataset, Loss, counts, facts, find, rows


def images_rule(data: DataConfig) -> list[str]:
    """What is wrong with the options that say which images these are."""
    row = find(Dataset, data.name)
    foreign = frozenset().union(*(other.uses for other in rows(Dataset).values())) - row.uses
    found = [
        f"{name}={show(value)}: data={data.name} doesn't read it; {left_out(name, field)}"
        for name, field, value in leaves(data, "data.")
        if name.removeprefix("data.") in foreign and value != field.metadata["off"]
    ]
    if row.discover is not None:
        if data.root is None and not row.target:
            found.append(f"data.root=null: data={data.name} needs it: the folder or file with the images")
        if data.normalize == "pixel":
            found.append(f"data.normalize=pixel: images of data={data.name} have no common pixels; channel")
        if data.val_size is not None:
            found.append(f"data.val_size={data.val_size}: data={data.name} takes data.val_fraction instead")
    return found


def moments_rule(data: DataConfig) -> list[str]:
    channels, found = facts(data).channels, []
    for name in ("mean", "std"):
        given = getattr(data, name)
        if given is None:
            continue
        low = 0 if name == "std" else -math.inf
        if len(given) != channels or not all(low < number < math.inf for number in given):
            above = ", above 0" if name == "std" else ""
            found.append(f"data.{name}={show(given)}: one number for each of {channels} channels{above}")
    if data.normalize == "pixel" and data.mean is not None:
        found.append("data.mean: data.normalize=pixel subtracts the mean image; leave one of both out")
    if find(Dataset, data.name).discover is None and data.store_size is not None:
        size = facts(data).size
        if data.store_size < size:
            found.append(f"data.store_size={data.store_size}: at least {size}, which is cut out of it")
        if data.normalize == "pixel":
            found.append("data.normalize=pixel: whole images have no common pixels; channel")
    limits = data.range
    if limits is not None and (len(limits) != 2 or not -math.inf < limits[0] < limits[1] < math.inf):
        found.append(f"data.range={show(limits)}: two rising numbers, those that become 0 and 255")
    return found


def crop_rule(augment: AugmentConfig, data: DataConfig) -> list[str]:
    if not augment.random_resized_crop:
        return []
    found = []
    if augment.crop_padding:
        found.append(
            f"augment.crop_padding={augment.crop_padding}: random_resized_crop cuts out already; take "
            "augment=random_resized_crop, or crop_padding=0"
        )
    if data.name == "imagenet" and data.store_size is None:
        found.append(
            "augment.random_resized_crop=true: data=imagenet keeps the middle of each image alone; "
            "data.store_size=256 keeps images whole, at that short side"
        )
    for name, high in (("crop_scale", 1.0), ("crop_ratio", None)):
        low_high = getattr(augment, name)
        wrong = len(low_high) != 2 or not 0 < low_high[0] <= low_high[1]
        if wrong or (high is not None and low_high[1] > high):
            most = ", at most 1" if high is not None else ""
            found.append(f"augment.{name}={show(low_high)}: two numbers above 0, the lower first{most}")
    return found


def data_rule(data: DataConfig, train: TrainConfig) -> list[str]:
    known = facts(data)
    found = []
    if known.discover is not None:
        room = counts(replace(data, train_size=None))[0]
        less = "the training images less those for validation"
    elif data.val_size is None:
        return [
            f"data.val_size=null: data={data.name} has no validation part; say how many images to hold out"
        ]
    else:
        room, less = (
            known.train - data.val_size,
            f"{known.train} training images less data.val_size={data.val_size}",
        )
        if not known.classes <= data.val_size <= known.train - known.classes:
            return [
                f"data.val_size={data.val_size}: {data.name} has {known.train} training images of "
                f"{known.classes} classes; from {known.classes} to {known.train - known.classes} can be "
                "held out"
            ]
    if data.train_size is not None and not known.classes <= data.train_size <= room:
        found.append(
            f"data.train_size={data.train_size}: from {known.classes} (one a class) to {room} ({less})"
        )
    elif train.batch_size > (data.train_size or room):
        found.append(
            f"train.batch_size={train.batch_size}: at most {data.train_size or room}, the training images"
        )
    return found


def loss_rule(loss: LossConfig, data: DataConfig, train: TrainConfig) -> list[str]:
    row, weights, classes = find(Loss, loss.name), loss.class_weights, facts(data).classes
    found = []
    if isinstance(weights, list):
        if len(weights) != classes or not all(_is_number(weight) and weight > 0 for weight in weights):
            found.append(
                f"loss.class_weights={show(weights)}: one number above 0 for each of the {classes} classes"
            )
    elif weights not in ("none", "balanced"):
        found.append(f"loss.class_weights={weights}: none, balanced, or a list of one number a class")
    if weights != "none" and not row.reads("class_weights"):
        found.append(f"loss.class_weights={show(weights)}: loss={loss.name} doesn't take them; leave it out")
    if loss.alpha is not None and "alpha" in row.uses and (classes != 2 or weights != "none"):
        found.append(
            f"loss.alpha={loss.alpha:g}: for two classes without loss.class_weights; {data.name} has "
            f"{classes}, so give loss.class_weights alone"
        )
    if train.label_smoothing and not row.reads("label_smoothing"):
        found.append(
            f"train.label_smoothing={train.label_smoothing:g}: loss={loss.name} doesn't smooth "
            "labels; leave it out"
        )
    return found


def select_rule(train: TrainConfig, data: DataConfig) -> list[str]:
    if train.select == TrainConfig().select:
        return []
    metrics = import_module("cbam_ablate.metrics.select")
    try:
        why = metrics.undecided(metrics.selection(train.select), facts(data).classes)
    except ConfigError as error:
        return [str(error)]
    return [f"train.select={train.select}: {why}; take another, or last"] if why else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def left_out(name: str, field: Field[Any]) -> str:
    """How to do without an option, which a study or a group's file may have set."""
    return f"leave it out, or say {name}={spell(field.metadata['off'])} over a file that sets it"


def show(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)
