"""Grad-CAM (Selvaraju et al., 2017) and CBAM's spatial gate of a network, for some images.

Images are (N, C, H, W), normalised as the network was trained with.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.models import SpatialAttention
from cbam_ablate.torchvision_shim import import_torchvision

POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
Array = NDArray[np.float64]


class Maps(NamedTuple):
    """Of N images: the predicted class (N,), its probability (N,), Grad-CAM (N, H, W) from 0 to 1.

    `masked` (N,) is that class's probability once the image is multiplied by its map; `gate` (N, h, w) is the
    last spatial gate that ran, None in a network without one.
    """

    predicted: NDArray[np.int64]
    confidence: Array
    cam: NDArray[np.float32]
    masked: Array
    gate: NDArray[np.float32] | None


def explain(model: nn.Module, images: Tensor) -> Maps:
    """Grad-CAM of the predicted class on the last feature map, each map stretched from 0 to 1.

    Where a map is 0 the masked image has the data set's mean colour. Raises `ConfigError` without the
    grad-cam package, where the network has no last feature map, or where its outputs aren't numbers.
    """
    package = import_grad_cam()
    model.eval()
    explainer = package.GradCAM(model, [last_map(model, images[:1])])
    try:
        with _outputs(part for part in model.modules() if isinstance(part, SpatialAttention)) as gates:
            cam = explainer(images, None)
        logits = explainer.outputs.detach()
    finally:
        # Not as a context manager: it would swallow every IndexError.
        explainer.activations_and_grads.release()
        model.zero_grad()
    gate = gates[-1][1][:, 0].cpu().numpy() if gates else None
    if not logits.isfinite().all():
        raise ConfigError("the network's outputs aren't finite numbers: there is nothing to explain")
    predicted = logits.argmax(1)
    masked = masked_confidence(model, images, torch.from_numpy(cam), predicted)
    return Maps(predicted.cpu().numpy(), _probability(logits, predicted), cam, masked, gate)


def masked_confidence(model: nn.Module, images: Tensor, maps: Tensor, classes: Tensor) -> Array:
    """The probability (N,) of each image's class (N,) once the image is multiplied by its map (N, H, W)."""
    with torch.inference_mode():
        return _probability(model(images * maps.to(images)[:, None]), classes)


def _probability(logits: Tensor, classes: Tensor) -> Array:
    found: Array = logits.double().softmax(1).gather(1, classes[:, None])[:, 0].cpu().numpy()
    return found


def import_grad_cam() -> ModuleType:
    """The `pytorch_grad_cam` package; raises `ConfigError` where it isn't installed."""
    import_torchvision()
    try:
        return import_module("pytorch_grad_cam")
    except ModuleNotFoundError as error:
        raise ConfigError("grad-cam isn't installed: pip install 'cbam_ablate[explain]'") from error


@contextmanager
def _outputs(modules: Iterable[nn.Module]) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Collects what the modules give, in the order in which they end."""
    found: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            found.append((module, output.detach()))

    handles = [module.register_forward_hook(note) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def last_map(model: nn.Module, images: Tensor) -> nn.Module:
    """The module that gives the last feature map: of more than one pixel, before any pooling after it.

    Found by watching some images. Raises `ConfigError` in a network that makes sequences or no map.
    """
    with torch.inference_mode(), _outputs(model.modules()) as ran:
        model(images)
    if any(output.ndim == 3 for _, output in ran):
        raise _cant(model, "it makes sequences, not feature maps")
    maps = [
        index
        for index, (module, output) in enumerate(ran)
        if output.ndim == 4 and output.shape[2:].numel() > 1 and not isinstance(module, POOLING)
    ]
    if not maps:
        raise _cant(model, "it makes no feature map of more than one pixel")
    last, output = ran[maps[-1]]
    linear = next((module for module, _ in ran[maps[-1] :] if isinstance(module, nn.Linear)), None)
    if linear is not None and linear.in_features % output.shape[1]:
        raise _cant(model, "its last feature map isn't what its classifier takes")
    return last


def _cant(model: nn.Module, reason: str) -> ConfigError:
    return ConfigError(f"no Grad-CAM of {type(model).__name__}: {reason}")
