"""What is known of networks, attention modules and data sets without building or loading them.

One line here makes a backbone, an attention module or a data set known to the whole package.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """`builder` is `module:function` taking a `ModelConfig`, classes and input channels.

    `channels(depth, width)` gives the channels of each stage's output, which is what attention gates.
    `uses` are the options of `ModelConfig` it reads beside depth, width and attention.
    """

    builder: str
    depths: tuple[int, ...]
    width: int
    channels: Callable[[int, int], tuple[int, ...]]
    uses: frozenset[str] = frozenset()

    @property
    def default_depth(self) -> int:
        return self.depths[0]


@dataclass(frozen=True)
class Attention:
    """`builder` is `module:function` taking channels and an `AttentionConfig`; `uses`: options it reads."""

    builder: str
    uses: frozenset[str]


@dataclass(frozen=True)
class Dataset:
    """`loader` is `module:function` taking a `DataConfig`. Sizes are images; `size` is pixels a side."""

    loader: str
    classes: int
    train: int
    test: int
    size: int
    channels: int = 3


def _resnet(depth: int, width: int) -> tuple[int, ...]:
    expansion = 1 if depth < 50 else 4
    return tuple(expansion * width * factor for factor in (1, 2, 4, 8))


def _resnet_cifar(depth: int, width: int) -> tuple[int, ...]:
    return width, 2 * width, 4 * width


BACKBONES = {
    "resnet": Backbone("cbam_ablate.models.resnet:resnet", (18, 34, 50, 101, 152), 64, _resnet),
    "resnet_cifar": Backbone(
        "cbam_ablate.models.resnet_cifar:resnet_cifar", (20, 32, 44, 56, 110), 16, _resnet_cifar
    ),
}

ATTENTIONS = {
    "cbam": Attention(
        "cbam_ablate.models.cbam:cbam",
        frozenset({"reduction", "kernel", "pool", "order", "mlp_bias", "conv_bias", "spatial_norm"}),
    ),
    "se": Attention("cbam_ablate.models.se:se", frozenset({"reduction"})),
}

DATASETS = {
    "cifar10": Dataset("cbam_ablate.data.cifar:cifar10", 10, 50_000, 10_000, 32),
    "cifar100": Dataset("cbam_ablate.data.cifar:cifar100", 100, 50_000, 10_000, 32),
    "synthetic": Dataset("cbam_ablate.data.synthetic:synthetic", 10, 640, 200, 32),
}
