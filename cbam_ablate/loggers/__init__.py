"""Views of a run, made from what its folder holds: they can be made again, and can't hurt a run.

Files are made by `write_views` when a run has finished, or in a process of their own by `viewing`. The other
loggers each follow the run's folder from a process of their own, started and ended by `following`.
"""

from cbam_ablate.loggers.beside import close_sweep, following, viewing
from cbam_ablate.loggers.views import write_views

__all__ = ["close_sweep", "following", "viewing", "write_views"]
