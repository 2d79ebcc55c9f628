from cbam_ablate.data.arrays import DataError
from cbam_ablate.data.feed import Feed, make_feed
from cbam_ablate.data.loader import prepare

__all__ = ["DataError", "Feed", "make_feed", "prepare"]
