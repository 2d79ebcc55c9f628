"""python -m cbam_ablate.data.download DATASET FOLDER: torchvision's own download, as a process to watch."""

import socket
import sys

from cbam_ablate.torchvision_shim import import_torchvision

CONNECTING = 8.0
"""Seconds without an answer on one connection."""


def main(dataset: str, folder: str) -> None:
    import_torchvision()
    from torchvision import datasets

    socket.setdefaulttimeout(CONNECTING)
    kind = getattr(datasets, dataset)
    if dataset == "SVHN":
        for part in ("train", "test"):
            kind(folder, split=part, download=True)
    else:
        kind(folder, download=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, RuntimeError) as error:
        sys.exit(" ".join(str(error).split()))
