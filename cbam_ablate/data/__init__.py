"""Images: where they come from, the split, batches. Names are imported when they are used: no torch here."""

from typing import TYPE_CHECKING

from cbam_ablate.errors import DataError
from cbam_ablate.lazy import names_of
from cbam_ablate.registry import OF_ARRAYS, Dataset

if TYPE_CHECKING:
    from cbam_ablate.data.feed import Feed, make_feed
    from cbam_ablate.data.loader import prepare

__all__ = ["DATASETS", "DataError", "Feed", "make_feed", "prepare"]

OF_FOLDERS = OF_ARRAYS | {"store_size", "group", "exif"}
DATASETS = {
    "cifar10": Dataset(
        "cbam_ablate.data.cifar:cifar10",
        *(10, 50_000, 10_000, 32),
        names="airplane automobile bird cat deer dog frog horse ship truck",
    ),
    "cifar100": Dataset("cbam_ablate.data.cifar:cifar100", 100, 50_000, 10_000, 32),
    "fashion_mnist": Dataset(
        "cbam_ablate.data.mnist:fashion_mnist",
        *(10, 60_000, 10_000, 28, 1),
        names="t-shirt trouser pullover dress coat sandal shirt sneaker bag boot",
    ),
    "svhn": Dataset("cbam_ablate.data.svhn:svhn", 10, 73_257, 26_032, 32),
    "imagenet": Dataset(
        "cbam_ablate.data.imagefolder:imagefolder",
        *(1000, 1_281_167, 50_000, 224),
        uses=frozenset({"store_size"}),
    ),
    "folder": Dataset(
        "cbam_ablate.data.folder:folder", uses=OF_FOLDERS, discover="cbam_ablate.data.discover"
    ),
    "npz": Dataset("cbam_ablate.data.folder:folder", uses=OF_ARRAYS, discover="cbam_ablate.data.discover"),
    "synthetic": Dataset("cbam_ablate.data.synthetic:synthetic", 10, 640, 200, 32),
}

__getattr__ = names_of(__name__, {"feed": ("Feed", "make_feed"), "loader": ("prepare",)})
