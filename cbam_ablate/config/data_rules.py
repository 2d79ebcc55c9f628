"""The rules of data sets and losses, which depend on what the images are."""

from dataclasses import replace
from typing import Any

from cbam_ablate.config.canonical import leaves
from cbam_ablate.config.schema import DataConfig, LossConfig, TrainConfig
from cbam_ablate.registry import Dataset, Loss, counts, facts, find, rows


def images_rule(data: DataConfig) -> list[str]:
    """What is wrong with the options that say which images these are."""
    row = find(Dataset, data.name)
    every = [other for name, other in rows(Dataset).items()]
    foreign = frozenset().union(*(other.uses for other in every)) - row.uses
    found = [
        f"{name}={show(value)}: data={data.name} doesn't read it; leave it out"
        for name, field, value in leaves(data, "data.")
        if name.removeprefix("data.") in foreign and value != field.metadata["off"]
    ]
    if row.discover is not None:
        if data.root is None:
            found.append(f"data.root=null: data={data.name} needs it: the folder or file with the images")
        if data.val_size is not None:
            found.append(f"data.val_size={data.val_size}: data={data.name} takes data.val_fraction instead")
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def show(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)
