import pytest
import torch
from torch import nn

from cbam_ablate.config.schema import AttentionConfig, DataConfig, ModelConfig, RunConfig
from cbam_ablate.torchvision_shim import import_torchvision

import_torchvision()


@pytest.fixture
def configure():
    """Makes a RunConfig: `configure("resnet", 18, "block", kind="se", width=8)`."""

    def make(backbone, depth=None, placement="none", data="cifar10", kind="cbam", residual="none", **options):
        places = {"kind": kind, "placement": placement, "residual": residual, "reduction": 16, "kernel": 7}
        inner = {name: options.pop(name) for name in ATTENTION & set(options)}
        model = ModelConfig(
            backbone=backbone, depth=depth, attention=AttentionConfig(**{**places, **inner}), **options
        )
        return RunConfig(model=model, data=DataConfig(name=data, val_size=1))

    return make


ATTENTION = {
    "reduction",
    "kernel",
    "pool",
    "order",
    "mlp_bias",
    "conv_bias",
    "spatial_norm",
    "descriptor",
    "combine",
    "at",
    "position",
}


@pytest.fixture
def randomise():
    """Gives every parameter and buffer a value of its own, so that no term is hidden by a zero or a one."""

    def fill(module: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                fan = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
                values = torch.rand(tensor.shape, generator=generator)
                values = values + 0.5 if tensor.ndim == 1 else (values - 0.5) * (12 / fan) ** 0.5
                with torch.no_grad():
                    tensor.copy_(values if "bias" not in name else values - 1)
        return module

    return fill


@pytest.fixture
def copy_in_order():
    """Copies weights between two networks whose tensors come in the same order under different names."""

    def copy(source: nn.Module, target: nn.Module) -> None:
        theirs = list(source.state_dict().values())
        ours = target.state_dict()
        assert [value.squeeze().shape for value in theirs] == [
            value.squeeze().shape for value in ours.values()
        ]
        pairs = zip(ours.items(), theirs, strict=True)
        target.load_state_dict({name: value.view_as(own) for (name, own), value in pairs})

    return copy
