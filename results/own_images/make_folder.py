"""Fashion-MNIST as folders of PNG files, as one's own images are: `python make_folder.py IDX FOLDER`.

IDX holds the four files in LeCun's format (Debian's dataset-fashion-mnist puts them into
/usr/share/datasets/fashion-mnist). Of each class the first 250 images are for training, the first 100 for
testing.
"""

import sys
from pathlib import Path

from PIL import Image

from cbam_ablate.data.mnist import read_root

CLASSES = [
    "tshirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle_boot",
]
COUNTS = {"train": 250, "test": 100}


def main() -> None:
    source, target = (Path(word) for word in sys.argv[1:3])
    data = read_root(source)
    parts = {"train": (data.train_images, data.train_labels), "test": (data.test_images, data.test_labels)}
    for part, (images, labels) in parts.items():
        for label, name in enumerate(CLASSES):
            folder = target / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in (labels == label).nonzero()[0][: COUNTS[part]]:
                Image.fromarray(images[number, :, :, 0]).save(folder / f"{number}.png")


if __name__ == "__main__":
    main()
