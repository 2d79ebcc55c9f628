"""How much faster batches of one's own images are ready than by ImageFolder and DataLoader, and their memory.

    python benchmarks/bench_images.py [--images 600] [--batch 64] [--rounds 5] [--runs 10] [--epochs 2]
                                      [--json FILE]

Images are JPEG files of 500 x 375 pixels, made for this in a temporary folder; the network sees 224 x 224,
cut by random resized crops and flipped. The usual way is torchvision's ImageFolder, RandomResizedCrop, flip,
ToTensor and Normalize under a DataLoader of 2 workers, which stay alive. Both ways go through one epoch each
in every round, from the second on; the ratio is the median over rounds.

The sweep is ten runs of a few epochs, decoding included, of a network so small (a linear layer on mean
colours) that the images are what takes the time. Memory is what a process holds of its own (RssAnon) after an
epoch over a folder and over one five times as large; what it maps of the decoded images is the system's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.config import load_config
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.data import make_feed
from cbam_ablate.data.feed import Feed
from cbam_ablate.torchvision_shim import import_torchvision

CLASSES = 4
SIZE = 224
PIXELS = SIZE * SIZE


def make_images(root: Path, count: int) -> None:
    """Smooth patterns under some noise: files of about 50 kB, as photographs of this size are."""
    draw = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8))
        coarse = coarse.resize((500, 375), Image.Resampling.BICUBIC)
        noisy = np.asarray(coarse) + draw.normal(0, 6, (375, 500, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)


def config(root: Path, cache: Path, batch: int) -> RunConfig:
    words = [
        "data=folder", f"data.root={root}", f"data.size={SIZE}", f"data.cache={cache}",
        "data.val_fraction=0.02", "data.test_fraction=0.02", "augment=random_resized_crop",
        f"train.batch_size={batch}",
    ]  # fmt: skip
    return load_config(words)


def ours(cfg: RunConfig) -> Feed:
    return make_feed(cfg, torch.device("cpu"), "fp32")


def usual(root: Path, batch: int) -> torch.utils.data.DataLoader[tuple[Tensor, Tensor]]:
    import_torchvision()
    from torchvision import datasets, transforms

    steps = [
        transforms.RandomResizedCrop(SIZE),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    ]
    data = datasets.ImageFolder(root, transforms.Compose(steps))
    return torch.utils.data.DataLoader(
        data, batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )


def rate(batches: Iterator[tuple[Tensor, Tensor]]) -> float:
    """Images a second."""
    started, images = time.perf_counter(), 0
    for batch, _ in batches:
        images += len(batch)
    return images / (time.perf_counter() - started)


def ready(root: Path, cache: Path, batch: int, rounds: int) -> dict[str, object]:
    feed, loader = ours(config(root, cache, batch)), usual(root, batch)
    rates: dict[str, list[float]] = {"ours": [], "usual": []}
    for epoch in range(rounds + 1):
        found = {"ours": rate(feed.train(epoch, 0)), "usual": rate(iter(loader))}
        for name, value in found.items():
            rates[name] += [value] if epoch else []
        if epoch:
            print(
                f"  round {epoch}: ours {found['ours']:.0f}, usual {found['usual']:.0f} images/s", flush=True
            )
    ratios = [one / other for one, other in zip(rates["ours"], rates["usual"], strict=True)]
    return {**rates, "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def train(
    batches: Iterator[tuple[Tensor, Tensor]], network: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    for images, labels in batches:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()


def one_run(epochs: Iterator[Iterator[tuple[Tensor, Tensor]]]) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, CLASSES))
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for batches in epochs:
        train(batches, network, optimizer)


def sweep(root: Path, cache: Path, batch: int, runs: int, epochs: int) -> dict[str, float]:
    """Seconds of `runs` runs either way, turn by turn; ours with decoding, theirs with starting workers."""
    seconds = {"ours": 0.0, "usual": 0.0}
    cfg = config(root, cache, batch)  # which a sweep composes once
    for run in range(runs):
        started = time.perf_counter()
        feed = ours(replace(cfg, seed=run))
        one_run(feed.train(epoch, 0) for epoch in range(epochs))
        seconds["ours"] += time.perf_counter() - started
        started = time.perf_counter()
        loader = usual(root, batch)
        one_run(iter(loader) for _ in range(epochs))
        seconds["usual"] += time.perf_counter() - started
        del loader
    return {**seconds, "ratio": seconds["usual"] / seconds["ours"]}


def held() -> float:
    """MiB of the process's own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def memory(root: Path, cache: Path, batch: int) -> float:
    """MiB that a process holds more after an epoch than before it had any image."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import bench_images as b; "
        "from pathlib import Path; import torch; before = b.held(); "
        f"feed = b.ours(b.config(Path({str(root)!r}), Path({str(cache)!r}), {batch})); "
        "b.rate(feed.train(0, 0)); print(b.held() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, large = Path(folder) / "images", Path(folder) / "large"
        make_images(root, options.images)
        print(f"{options.images} images of 500 x 375, batches of {options.batch} of {SIZE} x {SIZE}:")
        found = {"ready": ready(root, Path(folder) / "cache", options.batch, options.rounds)}
        print(f"ready: {found['ready']['ratio']:.1f} times the usual way, at least 5 wanted", flush=True)
        told = sweep(root, Path(folder) / "fresh", options.batch, options.runs, options.epochs)
        print(
            f"sweep: {options.runs} runs of {options.epochs} epochs, decoding included, "
            f"{told['ours']:.1f} s, the usual way {told['usual']:.1f} s: {told['ratio']:.1f} times, "
            "at least 3 wanted",
            flush=True,
        )
        for path in root.rglob("*.jpg"):
            for copy in range(5):
                there = large / path.parent.name / f"{copy}_{path.name}"
                there.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, there)
        holds = {
            count: memory(place, Path(folder) / f"cache{count}", options.batch)
            for count, place in ((options.images, root), (5 * options.images, large))
        }
        stored = {count: 256 * 341 * 3 * count / 2**20 for count in holds}
        for count, value in holds.items():
            decoded = f"{count} images, {stored[count]:.0f} MiB decoded"
            print(f"memory: {decoded}: {value:.0f} MiB held by the process")
        if options.json is not None:
            options.json.write_text(json.dumps({**found, "sweep": told, "memory": holds}, indent=1))


if __name__ == "__main__":
    main()
