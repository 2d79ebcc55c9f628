"""Views of a run, made from what its folder holds: they can be made again, and can't hurt a run.

Files are made by `write_views` when a run has finished, or in a process of their own by `viewing`. The other
loggers each follow the run's folder from a process of their own, started and ended by `following`.
"""

from cbam_ablate.loggers.beside import close_sweep, following, viewing
from cbam_ablate.loggers.views import write_views
from cbam_ablate.registry import Logger

__all__ = ["LOGGERS", "close_sweep", "following", "viewing", "write_views"]

LOGGERS = {
    "tensorboard": Logger("cbam_ablate.loggers.tensorboard:TensorBoard"),
    "wandb": Logger("cbam_ablate.loggers.wandb_run:WandbRun"),
}
