"""Networks, one file a family, and what is known of each without torch. One line here makes one known."""

from collections.abc import Callable

from cbam_ablate.registry import Backbone

Channels = Callable[[int, int], tuple[int, ...]]


def _times(*factors: int) -> Channels:
    """Channels of each stage as multiples of the width."""
    return lambda depth, width: tuple(width * factor for factor in factors)


def _resnet(depth: int, width: int) -> tuple[int, ...]:
    expansion = 1 if depth < 50 else 4
    return _times(1, 2, 4, 8)(depth, expansion * width)


def _cifar(depth: int, width: int) -> tuple[int, ...]:
    return _times(1, 2, 4)(depth, width if depth < 164 else 4 * width)


THREE_STAGES = (20, 8, 14, 32, 44, 56, 110, 164)

BACKBONES = {
    "resnet": Backbone("cbam_ablate.models.backbones.resnet:resnet", (18, 34, 50, 101, 152), 64, _resnet),
    "resnet_cifar": Backbone(
        "cbam_ablate.models.backbones.resnet_cifar:resnet_cifar", THREE_STAGES, 16, _cifar,
        uses=frozenset({"shortcut"}),
    ),
    "resnet_cifar_preact": Backbone(
        "cbam_ablate.models.backbones.resnet_cifar:resnet_cifar_preact", THREE_STAGES, 16, _cifar
    ),
    "wide_resnet": Backbone(
        "cbam_ablate.models.backbones.resnet_cifar:wide_resnet", (28, 16, 22, 40), 160, _times(1, 2, 4)
    ),
    "resnext_cifar": Backbone(
        "cbam_ablate.models.backbones.resnet_cifar:resnext_cifar", (29,), 64, _times(4, 8, 16),
        uses=frozenset({"cardinality", "base_width"}),
    ),
    "resnet_preact": Backbone(
        "cbam_ablate.models.backbones.resnet:resnet_preact", (18, 34, 50, 101, 152), 64, _resnet,
        uses=frozenset({"last_norm"}),
    ),
    "resnet_imagenet": Backbone(
        "cbam_ablate.models.backbones.resnet_imagenet:resnet_imagenet", (18, 34, 50, 101, 152), 64, _resnet,
        uses=frozenset({"stride_in_1x1", "stem"}), published=(18, 34, 50, 101, 152),
    ),
    "resnext": Backbone(
        "cbam_ablate.models.backbones.resnet_imagenet:resnext", (50, 101), 64, _resnet,
        uses=frozenset({"stride_in_1x1", "stem"}), published=(50,),
    ),
    "vgg": Backbone(
        "cbam_ablate.models.backbones.vgg:vgg", (19, 11, 13, 16), 64, _times(1, 2, 4, 8, 8),
        uses=frozenset({"classifier", "dropout"}), published=(11, 13, 16, 19),
    ),
    "mobilenet": Backbone(
        "cbam_ablate.models.backbones.mobilenet:mobilenet", (28,), 64, _times(1, 2, 4, 8, 16),
        uses=frozenset({"multiplier", "stem"}),
    ),
    "residual_attention": Backbone(
        "cbam_ablate.models.backbones.residual_attention:residual_attention", (56, 92, 128, 164, 236), 64,
        _times(1, 2, 4, 4), uses=frozenset({"mode", "mask", "widths", "dropout"}),
    ),
    "residual_attention_imagenet": Backbone(
        "cbam_ablate.models.backbones.residual_attention:residual_attention_imagenet", (56, 92), 64,
        _times(4, 8, 16, 32), uses=frozenset({"mode", "mask", "dropout"}),
    ),
    "timm": Backbone(
        "cbam_ablate.models.backbones.foreign:timm", uses=frozenset({"timm"}), needs=frozenset({"timm"})
    ),
    "torchvision": Backbone(
        "cbam_ablate.models.backbones.foreign:torchvision",
        uses=frozenset({"torchvision"}), needs=frozenset({"torchvision"}),
    ),
}  # fmt: skip
