"""What the keys of public weight files are called here, one table a public layout."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Rename = tuple[str, str | Callable[[re.Match[str]], str]]


def _stage(found: re.Match[str]) -> str:
    return f"stages.{int(found[1]) - 1}."


def _stage_from_two(found: re.Match[str]) -> str:
    return f"stages.{int(found[1]) - 2}."


RESNET: tuple[Rename, ...] = (
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^layer([1-4])\.", _stage),
    (r"\.downsample\.", ".shortcut."),
    (r"^(fc|linear)\.", "classifier."),
)
"""torchvision's, and of all that began as a copy of it."""

CBAM: tuple[Rename, ...] = (
    (r"\.cbam\.ChannelGate\.mlp\.1\.", ".attention.channel.mlp.0."),
    (r"\.cbam\.ChannelGate\.mlp\.3\.", ".attention.channel.mlp.2."),
    (r"\.cbam\.SpatialGate\.spatial\.conv\.", ".attention.spatial.conv."),
    (r"\.cbam\.SpatialGate\.spatial\.bn\.", ".attention.spatial.norm."),
)
BAM: tuple[Rename, ...] = (
    (r"^bam([1-3])\.", lambda found: f"stages.{int(found[1]) - 1}.attention."),
    (r"\.channel_att\.gate_c\.gate_c_fc_0\.", ".channel.0."),
    (r"\.channel_att\.gate_c\.gate_c_bn_1\.", ".channel.1."),
    (r"\.channel_att\.gate_c\.gate_c_fc_final\.", ".channel.3."),
    (r"\.spatial_att\.gate_s\.gate_s_conv_reduce0\.", ".spatial.0."),
    (r"\.spatial_att\.gate_s\.gate_s_bn_reduce0\.", ".spatial.1."),
    (r"\.spatial_att\.gate_s\.gate_s_conv_di_0\.", ".spatial.3."),
    (r"\.spatial_att\.gate_s\.gate_s_bn_di_0\.", ".spatial.4."),
    (r"\.spatial_att\.gate_s\.gate_s_conv_di_1\.", ".spatial.6."),
    (r"\.spatial_att\.gate_s\.gate_s_bn_di_1\.", ".spatial.7."),
    (r"\.spatial_att\.gate_s\.gate_s_conv_final\.", ".spatial.9."),
)
SE: tuple[Rename, ...] = (
    (r"\.se\.fc\.([02])\.", r".attention.channel.mlp.\1."),
    (r"\.se_module\.fc1\.", ".attention.channel.mlp.0."),
    (r"\.se_module\.fc2\.", ".attention.channel.mlp.2."),
)
ECA: tuple[Rename, ...] = ((r"\.eca\.conv\.", ".attention.conv."),)
TIMM: tuple[Rename, ...] = (
    (r"\.se\.channel\.fc1\.", ".attention.channel.mlp.0."),
    (r"\.se\.channel\.fc2\.", ".attention.channel.mlp.2."),
    (r"\.se\.spatial\.conv\.conv\.", ".attention.spatial.conv."),
    (r"\.se\.spatial\.conv\.bn\.", ".attention.spatial.norm."),
    (r"\.se\.fc1\.", ".attention.channel.mlp.0."),
    (r"\.se\.fc2\.", ".attention.channel.mlp.2."),
    (r"\.se\.conv\.", ".attention.conv."),
)
PREACTIVATION: tuple[Rename, ...] = (
    (r"^conv1\.", "stem."),
    (r"^layer([1-4])\.", _stage),
    (r"\.bn([1-3])\.", lambda found: f".norms.{int(found[1]) - 1}."),
    (r"\.conv([1-3])\.", lambda found: f".convs.{int(found[1]) - 1}."),
    (r"\.shortcut\.0\.", ".shortcut."),
    (r"^linear\.", "classifier."),
)
MOBILENET: tuple[Rename, ...] = (
    *RESNET,
    (r"^(stages\.\d+\.\d+)\.conv1\.", r"\1.depthwise."),
    (r"^(stages\.\d+\.\d+)\.conv2\.", r"\1.pointwise."),
)
WEIAICUNZAI: tuple[Rename, ...] = (
    (r"^conv1\.([01])\.", r"stem.\1."),
    (r"^conv([2-5])(?:_x)?\.", _stage_from_two),
    (r"\.(?:residual_function|split_transforms)\.0\.", ".conv1."),
    (r"\.(?:residual_function|split_transforms)\.1\.", ".bn1."),
    (r"\.(?:residual_function|split_transforms)\.3\.", ".conv2."),
    (r"\.(?:residual_function|split_transforms)\.4\.", ".bn2."),
    (r"\.(?:residual_function|split_transforms)\.6\.", ".conv3."),
    (r"\.(?:residual_function|split_transforms)\.7\.", ".bn3."),
    (r"^fc\.", "classifier."),
)
VGG: tuple[Rename, ...] = ((r"^classifier\.(weight|bias)$", r"classifier.1.\1"),)


class Layout(NamedTuple):
    """Keys of a public layout and what they are called here, each rename applied in turn.

    `series` is a pattern of their modules that stand in one row where ours stand in stages: `features.3` is
    the second of ours. `without_bias` says that linear layers of its gates have none, which is one of zeros.
    `mean_first` says that its spatial gates see the mean and then the maximum, which is ours with the weights
    the other way round. `needs` are options of the attention without which the same weights are another
    function.
    """

    name: str
    renames: tuple[Rename, ...] = ()
    series: str | None = None
    without_bias: bool = False
    mean_first: bool = False
    needs: Mapping[str, str] = {}

    def renamed(self, offered: Mapping[str, Tensor], own: Sequence[str]) -> dict[str, Tensor]:
        """The tensors under our names; `own` are the network's in order, its gates' left out."""
        rows = self._rows(list(offered), own)
        found: dict[str, Tensor] = {}
        for name, value in offered.items():
            ours = name
            if self.series is not None and (row := re.match(self.series, name)):
                ours = rows.get(row[0], row[0]) + name[row.end() :]
            for pattern, replacement in self.renames:
                ours = re.sub(pattern, replacement, ours)
            swapped = self.mean_first and ours.endswith("attention.spatial.conv.weight")
            found[ours] = value.flip(1) if swapped and value.ndim == 4 else value
        if self.without_bias:
            for name, value in list(found.items()):
                if re.search(r"\.mlp\.[02]\.weight$", name):
                    found.setdefault(name.removesuffix("weight") + "bias", torch.zeros(len(value)))
        return found

    def _rows(self, offered: Sequence[str], own: Sequence[str]) -> dict[str, str]:
        if self.series is None:
            return {}
        theirs = [row[0] for name in offered if (row := re.match(self.series, name))]
        ours = [row[0] for name in own if (row := re.match(r"stages\.\d+\.\d+", name))]
        return dict(zip(dict.fromkeys(theirs), dict.fromkeys(ours), strict=False))


LAYOUTS = (
    Layout("our own"),
    Layout("torchvision", RESNET),
    Layout("timm", (*RESNET, *TIMM), mean_first=True),
    Layout("official CBAM", (*RESNET, *CBAM)),
    Layout("official BAM", (*RESNET, *BAM), needs={"combine": "multiply"}),
    Layout("SE", (*RESNET, *SE), without_bias=True),
    Layout("ECA", (*RESNET, *ECA)),
    Layout("pytorch-cifar", MOBILENET, series=r"layers\.\d+"),
    Layout("pytorch-cifar, pre-activation", PREACTIVATION),
    Layout("pytorch-cifar100", WEIAICUNZAI),
    Layout("VGG", VGG, series=r"features\.\d+"),
)
"""`pytorch-cifar` is akamaster's too, `VGG` that of torchvision, pytorch-cifar and pytorch-cifar100."""
