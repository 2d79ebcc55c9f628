"""Views of a run, made from what its folder holds: they can be made again, and can't hurt a run.

Each logger follows the run's folder from a process of its own, started and ended by `following`.
"""

from cbam_ablate.loggers.beside import close_sweep, following
from cbam_ablate.registry import Logger

__all__ = ["LOGGERS", "close_sweep", "following"]

LOGGERS = {
    "tensorboard": Logger("cbam_ablate.loggers.tensorboard:TensorBoard"),
    "wandb": Logger("cbam_ablate.loggers.wandb_run:WandbRun"),
}
