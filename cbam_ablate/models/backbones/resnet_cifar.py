"""Residual networks of three stages for CIFAR.

`resnet_cifar`: ResNet-20 to -110 (He et al., 2015, arXiv 1512.03385, section 4.2), the smaller -8 and -14 of
the same formula, and of bottlenecks ResNet-164 (He et al., 2016, arXiv 1603.05027, its original units).
`resnet_cifar_preact`: that paper's pre-activation units. `wide_resnet`: Zagoruyko and Komodakis, 2016,
arXiv 1605.07146. `resnext_cifar`: ResNeXt-29 (Xie et al., 2016, arXiv 1611.05431, section 5.2).
"""

from functools import partial

from torch import nn

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.models.blocks import BasicBlock, Bottleneck, PreActivation, residual_stages
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import ConvNorm, Network, conv, depth_and_width

BOTTLENECKS = (164,)
"""Depths whose blocks are bottlenecks, with four times the channels."""
WIDE_STEM = 16
RESNEXT_STEM = 64


def _sizes(depth: int, width: int) -> tuple[bool, list[int], list[int]]:
    """Whether blocks are bottlenecks, and the channels and blocks of each stage."""
    deep = depth in BOTTLENECKS
    factor, layers = (4, 9) if deep else (1, 6)
    return deep, [factor * width, 2 * factor * width, 4 * factor * width], [(depth - 2) // layers] * 3


def resnet_cifar(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Three stages of `n` basic blocks, depth `6n + 2`, widths 1, 2 and 4 times `model.width`.

    Of bottlenecks the depth is `9n + 2` and the widths are four times that. Where a shortcut changes shape
    it is a 1x1 convolution and BN (option B), or with `model.shortcut=pad` zeros for the new channels
    (option A).
    """
    depth, width = depth_and_width(model)
    gates, pad = Gates(model.attention), model.shortcut == "pad"
    deep, widths, counts = _sizes(depth, width)
    stem = ConvNorm(conv(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    block = partial(Bottleneck if deep else BasicBlock, pad=pad)
    stages = residual_stages(block, width, widths, counts, gates)
    return Network(stem, stages, widths, gates, nn.Linear(widths[-1], classes))


def resnet_cifar_preact(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Three stages of pre-activation blocks with a last BN and ReLU; depths and widths as `resnet_cifar`."""
    depth, width = depth_and_width(model)
    gates = Gates(model.attention)
    deep, widths, counts = _sizes(depth, width)
    block = partial(PreActivation, bottleneck=deep)
    stages = residual_stages(block, width, widths, counts, gates)
    stages[-1] += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
    return Network(conv(channels, width, 3), stages, widths, gates, nn.Linear(widths[-1], classes))


def wide_resnet(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Three stages of `n` pre-activation blocks, depth `6n + 4`; WRN-28-10 is width 160, ten times 16."""
    depth, width = depth_and_width(model)
    gates = Gates(model.attention)
    widths = [width, 2 * width, 4 * width]
    block = partial(PreActivation, bottleneck=False)
    stages = residual_stages(block, WIDE_STEM, widths, [(depth - 4) // 6] * 3, gates)
    stages[-1] += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
    return Network(conv(channels, WIDE_STEM, 3), stages, widths, gates, nn.Linear(widths[-1], classes))


def resnext_cifar(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Three stages of three bottlenecks of 4, 8 and 16 times `model.width`; 29 layers.

    Inside, the first stage has `model.cardinality` groups of `model.base_width` channels, the others twice
    and four times as many channels.
    """
    depth, width = depth_and_width(model)
    gates = Gates(model.attention)
    widths = [4 * width, 8 * width, 16 * width]

    def block(inputs: int, outputs: int, stride: int, gates: Gates) -> nn.Module:
        inner = model.cardinality * model.base_width * (outputs // widths[0])
        return Bottleneck(inputs, outputs, stride, gates, groups=model.cardinality, inner=inner)

    stem = ConvNorm(conv(channels, RESNEXT_STEM, 3), nn.BatchNorm2d(RESNEXT_STEM), nn.ReLU(inplace=True))
    stages = residual_stages(block, RESNEXT_STEM, widths, [(depth - 2) // 9] * 3, gates)
    return Network(stem, stages, widths, gates, nn.Linear(widths[-1], classes))
