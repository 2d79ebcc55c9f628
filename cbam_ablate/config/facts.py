"""What is known of networks, attention modules and data sets without building or loading them.

One line here makes a backbone, an attention module or a data set known to the whole package.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """`builder` is `module:function` taking a `ModelConfig`, classes and input channels.

    `channels(depth, width)` gives the channels of each stage's output, which is what attention gates.
    `uses` are the options of `ModelConfig` it reads beside depth, width and attention; `needs`, those of them
    that must be set. Networks that go by a name have neither depths nor a width.
    """

    builder: str
    depths: tuple[int, ...]
    width: int | None
    channels: Callable[[int, int], tuple[int, ...]]
    uses: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()

    @property
    def default_depth(self) -> int | None:
        return self.depths[0] if self.depths else None


@dataclass(frozen=True)
class Attention:
    """`builder` is `module:function` taking channels and an `AttentionConfig`.

    `uses` are the options of `AttentionConfig` it reads; `needs`, those of them that must be set.
    """

    builder: str
    uses: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()


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


def _vgg(depth: int, width: int) -> tuple[int, ...]:
    return tuple(width * factor for factor in (1, 2, 4, 8, 8))


def _mobilenet(depth: int, width: int) -> tuple[int, ...]:
    return tuple(width * factor for factor in (1, 2, 4, 8, 16))


def _residual_attention(depth: int, width: int) -> tuple[int, ...]:
    return tuple(width * factor for factor in (1, 2, 4, 4))


def _residual_attention_imagenet(depth: int, width: int) -> tuple[int, ...]:
    return tuple(width * factor for factor in (4, 8, 16, 32))


def _unknown(depth: int, width: int) -> tuple[int, ...]:
    return ()


BACKBONES = {
    "resnet": Backbone("cbam_ablate.models.backbones.resnet:resnet", (18, 34, 50, 101, 152), 64, _resnet),
    "resnet_cifar": Backbone(
        "cbam_ablate.models.backbones.resnet_cifar:resnet_cifar", (20, 32, 44, 56, 110), 16, _resnet_cifar
    ),
    "resnet_preact": Backbone(
        "cbam_ablate.models.backbones.resnet:resnet_preact", (18, 34, 50, 101, 152), 64, _resnet
    ),
    "resnet_imagenet": Backbone(
        "cbam_ablate.models.backbones.resnet_imagenet:resnet_imagenet", (18, 34, 50, 101, 152), 64, _resnet,
        uses=frozenset({"stride_in_1x1", "pretrained"}),
    ),
    "resnext": Backbone(
        "cbam_ablate.models.backbones.resnet_imagenet:resnext", (50, 101), 64, _resnet,
        uses=frozenset({"stride_in_1x1", "pretrained"}),
    ),
    "vgg": Backbone(
        "cbam_ablate.models.backbones.vgg:vgg", (19, 11, 13, 16), 64, _vgg,
        uses=frozenset({"classifier", "dropout"}),
    ),
    "mobilenet": Backbone(
        "cbam_ablate.models.backbones.mobilenet:mobilenet", (28,), 64, _mobilenet,
        uses=frozenset({"multiplier"}),
    ),
    "residual_attention": Backbone(
        "cbam_ablate.models.backbones.residual_attention:residual_attention", (56, 92, 128, 164, 236), 64,
        _residual_attention, uses=frozenset({"mode", "mask", "widths", "dropout"}),
    ),
    "residual_attention_imagenet": Backbone(
        "cbam_ablate.models.backbones.residual_attention:residual_attention_imagenet", (56, 92), 64,
        _residual_attention_imagenet, uses=frozenset({"mode", "mask", "dropout"}),
    ),
    "timm": Backbone(
        "cbam_ablate.models.backbones.foreign:timm", (), None, _unknown,
        uses=frozenset({"timm"}), needs=frozenset({"timm"}),
    ),
    "torchvision": Backbone(
        "cbam_ablate.models.backbones.foreign:torchvision", (), None, _unknown,
        uses=frozenset({"torchvision"}), needs=frozenset({"torchvision"}),
    ),
}  # fmt: skip

PRETRAINED = {"resnet_imagenet": (18, 34, 50, 101, 152), "resnext": (50,)}
"""Depths of which torchvision has weights: trained on ImageNet, at the backbone's own width, in colour."""

TIMM_ATTENTIONS = (
    "se", "ese", "eca", "ecam", "ceca", "gc", "gca", "cbam", "lcbam", "coord", "scoord", "ela", "strip", "sk",
    "splat", "nl", "lambda", "halo",
)  # fmt: skip
"""Names of `timm.layers.create_attn` that give a drop-in module; its others change the map or don't run."""

ATTENTIONS = {
    "cbam": Attention(
        "cbam_ablate.models.attention.cbam:cbam",
        frozenset(
            {"reduction", "kernel", "pool", "order", "mlp_bias", "conv_bias", "spatial_norm", "descriptor"}
        ),
    ),
    "se": Attention("cbam_ablate.models.attention.se:se", frozenset({"reduction"})),
    "bam": Attention("cbam_ablate.models.attention.bam:bam", frozenset({"reduction"})),
    "eca": Attention("cbam_ablate.models.attention.eca:eca"),
    "simam": Attention("cbam_ablate.models.attention.simam:simam"),
    "coordinate": Attention("cbam_ablate.models.attention.coordinate:coordinate", frozenset({"reduction"})),
    "gc": Attention("cbam_ablate.models.attention.gc:gc", frozenset({"reduction"})),
    "timm": Attention(
        "cbam_ablate.models.attention.timm:timm_attention", frozenset({"timm"}), needs=frozenset({"timm"})
    ),
}

DATASETS = {
    "cifar10": Dataset("cbam_ablate.data.cifar:cifar10", 10, 50_000, 10_000, 32),
    "cifar100": Dataset("cbam_ablate.data.cifar:cifar100", 100, 50_000, 10_000, 32),
    "fashion_mnist": Dataset("cbam_ablate.data.mnist:fashion_mnist", 10, 60_000, 10_000, 28, 1),
    "svhn": Dataset("cbam_ablate.data.svhn:svhn", 10, 73_257, 26_032, 32),
    "imagenet": Dataset("cbam_ablate.data.imagefolder:imagefolder", 1000, 1_281_167, 50_000, 224),
    "synthetic": Dataset("cbam_ablate.data.synthetic:synthetic", 10, 640, 200, 32),
}

DEVICES = r"auto|cpu|cuda(:\d+)?"
"""What `train.device` may be."""

METRICS = {
    **dict.fromkeys(
        (
            "accuracy", "balanced_accuracy", "precision_macro", "precision_micro", "precision_weighted",
            "recall_macro", "recall_micro", "recall_weighted", "f1_macro", "f1_micro", "f1_weighted",
            "auroc", "auroc_ovo", "average_precision", "kappa", "mcc",
        ),
        "up",
    ),
    **dict.fromkeys(("log_loss", "brier", "ece", "adaptive_ece"), "down"),
}  # fmt: skip
"""Metrics of stored predictions, and which direction is better; `cbam_ablate.metrics` defines them."""
