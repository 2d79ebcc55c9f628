"""Which options of a config have no effect in it."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from cbam_ablate.config.schema import (
    AugmentConfig,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from cbam_ablate.registry import (
    Attention,
    Augmentation,
    Backbone,
    Dataset,
    Loss,
    Optimizer,
    Schedule,
    find,
    rows,
)

BLOCKS_MOVED = re.compile("mobilenetv[34]|hardcorenas|rexnet|repghostnet|hrnet|hgnet")
MOVED = {
    "block": BLOCKS_MOVED,
    "both": BLOCKS_MOVED,
    "stage": re.compile(r"^(?!(wide_)?res(net|next)\d)"),
}
"""By placement, the networks of others in which version 0.1 may have put attention elsewhere."""
ORDER_IGNORES = {
    "channel_only": {"kernel", "conv_bias", "spatial_norm", "descriptor"},
    "spatial_only": {"reduction", "pool", "mlp_bias"},
}
UNREAD_AT: dict[str, set[str]] = {"at": set(), "class": {"at", "position"}, "stage": {"at", "position"}}
"""What placements don't read; the others don't read `at`."""


def _inert_in_model(model: ModelConfig) -> set[str]:
    attention = model.attention
    fields = {f.name for f in dataclasses.fields(attention)} - {"placement"}
    if attention.placement == "none":
        unused = fields
    else:
        read = {"kind", "residual", "start", "at", "position"} | find(Attention, attention.kind).uses
        unused = (fields - read) | UNREAD_AT.get(attention.placement, {"at"})
        unused |= ORDER_IGNORES.get(attention.order, set()) if "order" not in unused else set()
    common = {"backbone", "depth", "width", "attention", "pretrained"} | find(Backbone, model.backbone).uses
    others = {f.name for f in dataclasses.fields(model)} - common
    return {f"attention.{name}" for name in unused} | others


def _inert_in_optimizer(optimizer: OptimizerConfig) -> set[str]:
    used = find(Optimizer, optimizer.name).uses
    names = {name for other in rows(Optimizer).values() for name in other.uses - used}
    if optimizer.momentum == 0:
        names.add("nesterov")
    if optimizer.weight_decay == 0:
        names.add("decay_norm_bias")
    return names | {"options"} - used


def _inert_in_schedule(schedule: ScheduleConfig) -> set[str]:
    used = find(Schedule, schedule.name).uses
    return {name for other in rows(Schedule).values() for name in other.uses - used} | {"options"} - used


def _inert_in_loss(loss: LossConfig) -> set[str]:
    used = find(Loss, loss.name).uses
    return {name for other in rows(Loss).values() for name in other.uses - used} | {"options"} - used


def _inert_in_augment(augment: AugmentConfig) -> set[str]:
    unused = {"options"} - (find(Augmentation, augment.own).uses if augment.own else set())
    unused |= set() if augment.random_resized_crop else {"crop_scale", "crop_ratio"}
    unused |= set() if augment.erasing else {"erasing_range"}
    return unused | (set() if augment.cutmix else {"cutmix_rounding"})


def _inert_in_data(data: DataConfig) -> set[str]:
    unread = {"subset_seed"} if data.train_size is None else set()
    return unread | {"options"} - find(Dataset, data.name).uses


INERT: dict[str, Callable[[Any], set[str]]] = {
    "model": _inert_in_model,
    "optimizer": _inert_in_optimizer,
    "schedule": _inert_in_schedule,
    "loss": _inert_in_loss,
    "augment": _inert_in_augment,
    "data": _inert_in_data,
}


def inert_in(name: str, section: Any) -> set[str]:
    """Dotted names of the options of one section that have no effect in it."""
    return {f"{name}.{option}" for option in INERT[name](section)} if name in INERT else set()


def places_moved(model: ModelConfig) -> bool:
    """Whether a run of version 0.1 with this config may have been of another network."""
    theirs = {"timm": model.timm, "torchvision": model.torchvision}.get(model.backbone)
    moved = MOVED.get(model.attention.placement)
    return bool(theirs and moved and moved.search(theirs))
