"""Networks and attention modules, in plain PyTorch. Names are imported when they are used: no torch here."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cbam_ablate.models.attention.cbam import CBAM, ChannelAttention, SpatialAttention
    from cbam_ablate.models.build import build_model
    from cbam_ablate.models.cost import ModelCost, model_cost, take_cost
    from cbam_ablate.models.placement import attach, last_map

__all__ = [
    "CBAM",
    "ChannelAttention",
    "ModelCost",
    "SpatialAttention",
    "attach",
    "build_model",
    "last_map",
    "model_cost",
    "take_cost",
]

_HOMES = {
    "placement": ("attach", "last_map"),
    "attention.cbam": ("CBAM", "ChannelAttention", "SpatialAttention"),
    "build": ("build_model",),
    "cost": ("ModelCost", "model_cost", "take_cost"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
