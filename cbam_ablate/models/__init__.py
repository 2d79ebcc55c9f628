"""Networks and attention modules."""

from cbam_ablate.models.attach import attach, last_map
from cbam_ablate.models.build import build_model
from cbam_ablate.models.cbam import CBAM, ChannelAttention, SpatialAttention
from cbam_ablate.models.cost import ModelCost, model_cost, take_cost

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
