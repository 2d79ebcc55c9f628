"""Networks and attention modules, in plain PyTorch. Names are imported when they are used: no torch here."""

from typing import TYPE_CHECKING

from cbam_ablate.lazy import names_of

if TYPE_CHECKING:
    from cbam_ablate.models.attention.cbam import CBAM, ChannelAttention, SpatialAttention
    from cbam_ablate.models.build import build_model
    from cbam_ablate.models.cost import ModelCost, model_cost
    from cbam_ablate.models.final_map import last_map
    from cbam_ablate.models.placement import attach

__all__ = [
    "CBAM",
    "ChannelAttention",
    "ModelCost",
    "SpatialAttention",
    "attach",
    "build_model",
    "last_map",
    "model_cost",
]

__getattr__ = names_of(
    __name__,
    {
        "placement": ("attach",),
        "final_map": ("last_map",),
        "attention.cbam": ("CBAM", "ChannelAttention", "SpatialAttention"),
        "build": ("build_model",),
        "cost": ("ModelCost", "model_cost"),
    },
)
