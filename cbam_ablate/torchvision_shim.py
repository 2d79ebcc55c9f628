"""Imports torchvision also beside a torch for which its compiled operators were not built.

A CPU torch next to a CUDA torchvision can't load them, and torchvision then fails on registering the fake
kernels of two detection operators. Nothing here detects objects: their schemas are all the import needs.
"""

from importlib import import_module
from types import ModuleType

import torch

_SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_torchvision() -> ModuleType:
    """The `torchvision` package, ready for use; call it before importing what needs torchvision (timm)."""
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name, schema in _SCHEMAS.items():
        torch.library.define(name, schema)
    return import_module("torchvision")
