"""Other people's results as a store that tables, reports, checks and exports read."""

from cbam_ablate.sources.found import Found, Wanted

__all__ = ["Found", "Wanted"]
