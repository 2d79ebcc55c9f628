"""Grad-CAM (Selvaraju et al., 2017) and CBAM's spatial gate of a network, for some images.

Images are (N, C, H, W), normalised as the network was trained with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cbam_ablate.errors import ConfigError
from cbam_ablate.models import SpatialAttention, last_map
from cbam_ablate.torchvision_shim import import_torchvision

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
    target = model.get_submodule(last_map(model, images.shape[-1]))
    cut = target.register_forward_hook(_begin_graph)
    explainer = package.GradCAM(model, [target])
    try:
        with _gates(model) as gates:
            cam = explainer(images, None)
        logits = explainer.outputs.detach()
    finally:
        # Not as a context manager: it would swallow every IndexError.
        explainer.activations_and_grads.release()
        cut.remove()
        model.zero_grad()
    gate = gates[-1][:, 0].cpu().numpy() if gates else None
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


def _begin_graph(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """The same map as the start of autograd's graph: Grad-CAM needs no gradient of what comes before it."""
    return output.detach().requires_grad_().clone()


@contextmanager
def _gates(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the spatial gates (N, 1, h, w) in the order in which they are computed."""
    found: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        found.append(output.detach().sigmoid())

    # At the norm, since CBAM's passes on a CPU don't go through the gate's own `forward`.
    norms = [part.norm for part in model.modules() if isinstance(part, SpatialAttention)]
    handles = [norm.register_forward_hook(note) for norm in norms]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
