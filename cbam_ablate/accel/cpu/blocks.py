"""The blocks of `models/` in passes: the same modules, of a class whose forward calls the operators.

A forward that can't go through the passes is that of the block's own class: other layouts, types or devices,
hooks, torch.compile, export, tracing and torch.func. Maps are (N, C, H, W).
"""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from cbam_ablate.accel.cpu.cbam import Gated, cbam
from cbam_ablate.accel.cpu.gates import NO_NORM, Kept, Norm, running_affine
from cbam_ablate.accel.cpu.library import NAMES, accumulated, library
from cbam_ablate.accel.cpu.norm import AddReLU, BatchNorm, Fork, add_relu, scale_shift
from cbam_ablate.models.attention.cbam import CBAM, ChannelAttention, SpatialAttention
from cbam_ablate.models.blocks import BasicBlock, Bottleneck, PreActivation
from cbam_ablate.models.network import ConvNorm

OWN = (Tensor, nn.Parameter)


class PassesConvNorm(ConvNorm):
    """`ConvNorm` in passes."""

    def forward(self, x: Tensor) -> Tensor:
        convolution, norm, *relu = self
        if len(relu) > 1 or any(type(each) is not nn.ReLU or hooked(each) for each in relu):
            return super().forward(x)
        return normalise(norm, convolution(x), relu=bool(relu))


class PassesBasicBlock(BasicBlock):
    """`BasicBlock` in passes."""

    def forward(self, x: Tensor) -> Tensor:
        if not readable(x):
            return super().forward(x)
        x, skipped = fork(x)
        y = normalise(self.bn1, self.conv1(x))
        return join(self.bn2, self.conv2(y), self.attention, self.shortcut(skipped))


class PassesBottleneck(Bottleneck):
    """`Bottleneck` in passes."""

    def forward(self, x: Tensor) -> Tensor:
        if not readable(x):
            return super().forward(x)
        x, skipped = fork(x)
        y = normalise(self.bn1, self.conv1(x))
        y = normalise(self.bn2, self.conv2(y))
        return join(self.bn3, self.conv3(y), self.attention, self.shortcut(skipped))


class PassesPreActivation(PreActivation):
    """`PreActivation` in passes."""

    def forward(self, x: Tensor) -> Tensor:
        if not readable(x):
            return super().forward(x)
        y = normalise(self.norms[0], x)
        straight = x if self.shortcut is None else self.shortcut(y)
        y = self.convs[0](y)
        for norm, convolution in zip(self.norms[1:], self.convs[1:], strict=True):
            y = convolution(normalise(norm, y))
        return straight + self.attention(y)


class PassesCBAM(CBAM):
    """`CBAM` in passes, where it is the paper's: channel first, average and maximum, both gates."""

    def forward(self, x: Tensor) -> Tensor:
        if not readable(x) or not gates_fit(self, x):
            return super().forward(x)
        z = gated(self, x)
        return x + z if self.residual else z


SWAPPED: dict[type[nn.Module], type[nn.Module]] = {
    ConvNorm: PassesConvNorm,
    BasicBlock: PassesBasicBlock,
    Bottleneck: PassesBottleneck,
    PreActivation: PassesPreActivation,
    CBAM: PassesCBAM,
}
"""Of each class that is known here, what takes its place."""


def readable(x: Tensor) -> bool:
    """Whether x (N, C, H, W) is a map that the passes read, and nothing wants to see the modules called."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and type(x) in OWN
        and not torch._C._are_functorch_transforms_active()
        and x.is_cpu
        and x.dtype in NAMES
        and x.ndim == 4
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not _has_any_global_hook()
        and library() is not None
    )


def hooked(module: nn.Module) -> bool:
    """Whether the module has hooks, which the passes, that don't call it, would leave out."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def normalise(norm: nn.Module, x: Tensor, *, relu: bool = True, skipped: Tensor | None = None) -> Tensor:
    """`relu(norm(x) + skipped)`. A norm in training keeps its running statistics as it does of itself."""
    if not readable(x) or not norm_fits(norm, x) or not alike(x, skipped):
        y = norm(x) if skipped is None else norm(x) + skipped
        return F.relu(y) if relu else y
    if not norm.training:
        scored: Tensor = scale_shift(x, running_affine(x, of_norm(norm)), skipped, relu)
        return scored
    weight, bias, mean, var, _, eps, momentum = of_norm(norm)
    y, _, _, new_mean, new_var = BatchNorm.apply(x, weight, bias, mean, var, skipped, relu, eps, momentum)
    count(norm, new_mean, new_var)
    return y


def join(norm: nn.Module, y: Tensor, attention: nn.Module, skipped: Tensor) -> Tensor:
    """`relu(attention(norm(y)) + skipped)`, the end of a residual block."""
    if type(attention) is nn.Identity and not hooked(attention):
        return normalise(norm, y, skipped=skipped)
    if (
        type(attention) is PassesCBAM
        and not attention.residual
        and not hooked(attention)
        and readable(y)
        and norm_fits(norm, y)
        and gates_fit(attention, y)
        and alike(y, skipped)
    ):
        return gated(attention, y, norm, skipped)
    z = attention(normalise(norm, y, relu=False))
    if not readable(z) or not alike(z, skipped):
        return F.relu(z + skipped)
    return AddReLU.apply(z, skipped) if torch.is_grad_enabled() else add_relu(z, skipped)


def fork(x: Tensor) -> tuple[Tensor, Tensor]:
    """x twice, so that its two gradients are added in one pass."""
    if not x.requires_grad or not torch.is_grad_enabled():
        return x, x
    first, second = Fork.apply(x)
    return first, second


def gated(
    attention: CBAM, x: Tensor, norm: nn.BatchNorm2d | None = None, skipped: Tensor | None = None
) -> Tensor:
    """CBAM of norm(x), less its residual; with a shortcut `relu(z + skipped)`."""
    first, _, second = attention.channel.mlp
    spatial = attention.spatial
    layers = (first.weight, first.bias, second.weight, second.bias, spatial.conv.weight, spatial.conv.bias)
    before = NO_NORM if norm is None else of_norm(norm)
    gate_norm = of_norm(spatial.norm) if isinstance(spatial.norm, nn.BatchNorm2d) else NO_NORM
    given = (x, skipped, *before, *layers, *gate_norm)
    z, *rest = Gated.apply(*given) if torch.is_grad_enabled() else cbam(*given)
    kept = Kept(*(rest if len(rest) > 1 else rest[0]))
    if norm is not None and norm.training:
        count(norm, kept.new_mean, kept.new_var)
    if isinstance(spatial.norm, nn.BatchNorm2d) and spatial.norm.training:
        count(spatial.norm, kept.new_gate_mean, kept.new_gate_var)
    return z


def of_norm(norm: nn.BatchNorm2d) -> Norm:
    """A batch norm's tensors and numbers."""
    mean, var = norm.running_mean, norm.running_var
    return Norm(norm.weight, norm.bias, mean, var, norm.training, float(norm.eps), float(norm.momentum or 0))


def count(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor) -> None:
    """Takes over the running statistics after a batch."""
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


def alike(x: Tensor, skipped: Tensor | None) -> bool:
    """Whether what was skipped can be added in the same pass."""
    return skipped is None or (readable(skipped) and skipped.dtype == x.dtype and skipped.shape == x.shape)


def norm_fits(norm: nn.Module, x: Tensor) -> TypeGuard[nn.BatchNorm2d]:
    """Whether the norm is one that the passes compute, of a map that they read."""
    return of_kind(norm, accumulated(x.dtype), x.shape[1], x.numel())


def of_kind(norm: nn.Module, kind: torch.dtype, channels: int, values: int) -> TypeGuard[nn.BatchNorm2d]:
    """Whether a norm is in training, or asks for no gradient, with what it learns in `kind`."""
    return (
        type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.running_mean is not None
        and norm.momentum is not None
        and not hooked(norm)
        and (norm.training or not torch.is_grad_enabled())
        and values > channels == norm.num_features
        and norm.running_mean.dtype == kind
        and own(kind, norm.weight, norm.bias)
    )


def gates_fit(attention: CBAM, x: Tensor) -> bool:
    """Whether CBAM's gates are the ones that the passes compute, of a map of so many channels."""
    if attention.order != "channel_first":
        return False
    kind, channel, spatial = accumulated(x.dtype), attention.channel, attention.spatial
    return channel_fits(channel, x.shape[1], kind) and spatial_fits(spatial, x.numel() // x.shape[1], kind)


def channel_fits(channel: nn.Module, channels: int, kind: torch.dtype) -> bool:
    """Whether it is the gate from average and maximum, of two layers with a ReLU between them."""
    if type(channel) is not ChannelAttention or channel.pool != ("avg", "max"):
        return False
    layers = [*channel.mlp]
    if [type(layer) for layer in layers] != [nn.Linear, nn.ReLU, nn.Linear]:
        return False
    first, _, second = layers
    return (
        first.in_features == second.out_features == channels
        and own(kind, first.weight, second.weight, first.bias, second.bias)
        and not any(hooked(part) for part in (channel, channel.mlp, *layers))
    )


def spatial_fits(spatial: nn.Module, pixels: int, kind: torch.dtype) -> bool:
    """Whether it is the gate from maximum and mean, by a convolution and a batch norm or none."""
    if type(spatial) is not SpatialAttention or spatial.project is not None:
        return False
    conv, norm = spatial.conv, spatial.norm
    if type(conv) is not nn.Conv2d:
        return False
    side = conv.kernel_size[0]
    return (
        (conv.in_channels, conv.out_channels, conv.kernel_size) == (2, 1, (side, side))
        and (conv.stride, conv.dilation, conv.padding) == ((1, 1), (1, 1), (side // 2, side // 2))
        and (side % 2, conv.groups, conv.padding_mode) == (1, 1, "zeros")
        and own(kind, conv.weight, conv.bias, contiguous=False)
        and not any(hooked(part) for part in (spatial, conv, norm))
        and (type(norm) is nn.Identity or of_kind(norm, kind, 1, pixels))
    )


def own(kind: torch.dtype, *learnt: Tensor | None, contiguous: bool = True) -> bool:
    """Whether these are plain tensors of that type on the CPU, not those of a subclass."""
    return all(
        tensor is None
        or (
            type(tensor) in OWN
            and tensor.dtype == kind
            and tensor.is_cpu
            and (tensor.is_contiguous() or not contiguous)
        )
        for tensor in learnt
    )
