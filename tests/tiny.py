"""The words of the run that most tests train: the smallest network on a little of the generated set."""

SMALL = [
    "data=synthetic", "data.train_size=128", "backbone=resnet_cifar", "depth=8", "model.width=4",
    "reduction=4", "train.batch_size=64", "train.precision=fp32", "train.device=cpu",
    "train.threads=1",
]  # fmt: skip
TINY = [*SMALL, "train.epochs=2"]
"""In a third of a second."""
