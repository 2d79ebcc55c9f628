"""What training makes small. Validation and test losses stay plain cross entropy, whatever it is.

Shapes: logits (N, classes), labels (N,) or, of mixed images, each class's share (N, classes).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.config.schema import LossConfig, RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.registry import Loss as Row
from cbam_ablate.registry import find

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits in float32 and labels to the mean loss of a batch, ()."""


def build_loss(cfg: RunConfig, counts: Callable[[], Sequence[int]], device: torch.device) -> Loss:
    """The loss of a run; `counts` gives the training images of each class."""
    weights = class_weights(cfg.loss.class_weights, counts)
    on_device = None if weights is None else torch.tensor(weights, device=device)
    made: Loss = find(Row, cfg.loss.name).load()(cfg.loss, cfg.train.label_smoothing, on_device)
    return made


def class_weights(given: str | Sequence[float], counts: Callable[[], Sequence[int]]) -> list[float] | None:
    """A weight for each class. `balanced`: images / (classes x those of the class)."""
    if given == "none":
        return None
    if given != "balanced":
        return [float(weight) for weight in given]
    found = [max(1, count) for count in counts()]
    return [sum(found) / (len(found) * count) for count in found]


def cross_entropy(loss: LossConfig, smoothing: float, weights: Tensor | None) -> Loss:
    """-sum over classes of w_c y_c log p_c, over the sum of w_c y_c; labels smoothed by `smoothing`."""

    def measure(logits: Tensor, labels: Tensor) -> Tensor:
        if weights is None or labels.ndim == 1:
            return F.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
        # Of shares PyTorch divides by their number, not by their weights as it does of classes.
        total = F.cross_entropy(logits, labels, weights, label_smoothing=smoothing, reduction="sum")
        return total / (labels * weights).sum()

    return measure


def focal(loss: LossConfig, smoothing: float, weights: Tensor | None) -> Loss:
    """-(1 - p)^gamma log p of the label's class (Lin et al., arXiv 1708.02002), of p by a softmax.

    `alpha`, for two classes, weighs class 1 by it and class 0 by 1 - alpha, as the paper does; the mean is
    over images. `weights` are those of any number of classes, and the mean is weighted.
    """
    sides = None if loss.alpha is None else (1 - loss.alpha, loss.alpha)

    def measure(logits: Tensor, labels: Tensor) -> Tensor:
        log_p = logits.log_softmax(-1)
        shares = F.one_hot(labels, logits.shape[-1]).to(log_p.dtype) if labels.ndim == 1 else labels
        missing = (-log_p.expm1()).clamp(min=1e-8)  # a power below 1 has no slope at 0
        each = -shares * missing.pow(loss.gamma) * log_p
        if sides is not None:
            return (each[:, 0].sum() * sides[0] + each[:, 1].sum() * sides[1]) / len(logits)
        if weights is None:
            return each.sum() / len(logits)
        return (each * weights).sum() / (shares * weights).sum()

    return measure


def own(loss: LossConfig, smoothing: float, weights: Tensor | None) -> Loss:
    """A loss of one's own: a function of logits and labels, or a class whose objects are.

    It is given `class_weights` (a tensor on the device, or None) and `label_smoothing` where it takes them.
    Raises `ConfigError` where what it gives is not one number that depends on the logits, and where it has
    parameters to learn.
    """
    code = find(Row, loss.name).function(loss.options, class_weights=weights, label_smoothing=smoothing)
    if isinstance(code, nn.Module) and any(each.requires_grad for each in code.parameters()):
        raise ConfigError(
            f"loss.name={loss.name}: has parameters to learn, which the optimiser, that has the network's, "
            "would leave as they are; make them buffers, or the network's own"
        )

    def measure(logits: Tensor, labels: Tensor) -> Tensor:
        if isinstance(code, nn.Module):
            code.to(logits.device)
        value = code(logits, labels)
        if not isinstance(value, Tensor) or value.ndim or (logits.requires_grad and not value.requires_grad):
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(
                f"loss.name={loss.name}: gives {given} for logits {tuple(logits.shape)}; it must give the "
                "mean over the batch, a tensor of no dimensions that depends on the logits"
            )
        return value

    return measure
