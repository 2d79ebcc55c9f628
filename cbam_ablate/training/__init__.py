"""Training of one network. Names are imported when they are used: no torch here."""

from typing import TYPE_CHECKING

from cbam_ablate.lazy import names_of
from cbam_ablate.registry import Loss, Optimizer, Schedule

if TYPE_CHECKING:
    from cbam_ablate.training.loop import Diverged, Interrupted, Result, Trainer

__all__ = ["LOSSES", "OPTIMIZERS", "SCHEDULES", "Diverged", "Interrupted", "Result", "Trainer"]

OPTIMIZERS = {
    "sgd": Optimizer("cbam_ablate.training.optimizer:sgd", uses=frozenset({"momentum", "nesterov"})),
    "adamw": Optimizer("cbam_ablate.training.optimizer:adamw", uses=frozenset({"beta1", "beta2"})),
    "adam": Optimizer("cbam_ablate.training.optimizer:adam", uses=frozenset({"beta1", "beta2"})),
}
LOSSES = {
    "cross_entropy": Loss("cbam_ablate.training.loss:cross_entropy", smooths=True),
    "focal": Loss("cbam_ablate.training.loss:focal", uses=frozenset({"gamma", "alpha"})),
}
SCHEDULES = {
    "cosine": Schedule("cbam_ablate.training.optimizer:cosine"),
    "constant": Schedule("cbam_ablate.training.optimizer:constant"),
    "step": Schedule("cbam_ablate.training.optimizer:step", uses=frozenset({"milestones", "gamma"})),
}

__getattr__ = names_of(__name__, {"loop": ("Diverged", "Interrupted", "Result", "Trainer")})
