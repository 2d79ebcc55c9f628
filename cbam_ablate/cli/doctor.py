"""cbam-ablate doctor [store=FOLDER] [data.cache=FOLDER] [train.device=auto]

What this machine can do and what is installed: one screen to be copied into an issue. It names no user, host
or token. The exit code is 1 where training can't work here, with what to do about it.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from cbam_ablate import __version__
from cbam_ablate.cli.arguments import read_arguments

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "numpy", "pandas", "wandb")
EXTRAS = {
    "timm": "timm", "tensorboard": "tensorboard", "explain": "grad-cam", "joblib": "hydra-joblib-launcher",
    "slurm": "submitit", "ray": "ray", "parquet": "pyarrow", "mlflow": "mlflow-skinny",
    "wandb-report": "wandb-workspaces",
}  # fmt: skip
LEAST_FREE = 2**30
"""Bytes of disk below which a study's checkpoints and a data set's cache are likely not to fit."""


class Finding(NamedTuple):
    """A line of the screen; a `remedy` where something is amiss, which `stops` training or doesn't."""

    name: str
    text: str
    remedy: str | None = None
    stops: bool = False


def main(arguments: list[str]) -> int:
    values = read_arguments(arguments, (), ("data.cache", "train.device"))
    found: list[Finding] = []
    for finding in examine(values["store"], values.get("data.cache"), values.get("train.device", "auto")):
        found.append(finding)
        print(f"{finding.name:<12} {finding.text}", flush=True)
    for finding in found:
        if finding.remedy:
            print(f"\n{finding.name}: {finding.remedy}")
    stops = any(finding.stops for finding in found)
    print(f"\nTraining {'cannot work here.' if stops else 'works here.'}")
    return int(stops)


def examine(store: str, cache: str | None, device: str) -> Iterator[Finding]:
    """Yields what is found, in the order that it is shown in."""
    yield Finding("cbam_ablate", __version__)
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    missing = [name for name in PACKAGES if _version(name) is None]
    remedy = f"pip install {' '.join(missing)}" if missing else None
    shown = ", ".join(f"{name} {_version(name) or 'missing'}" for name in PACKAGES)
    yield Finding("packages", shown, remedy, bool({"torch", "hydra-core", "omegaconf"} & set(missing)))
    yield _extras()
    if "torch" not in missing:
        yield from _compute(device)
    yield from _folders(store, cache)
    yield _wandb()


def _compute(name: str) -> Iterator[Finding]:
    try:
        import torch

        from cbam_ablate.accel.cpu.library import library
        from cbam_ablate.training.device import device_name, pick_device, pick_precision

        device = pick_device(name)
        precision = pick_precision("auto", device)
    except Exception as error:
        yield Finding("device", _first_line(error), "mend what PyTorch says, or install it anew", True)
        return
    idle = shutil.which("nvidia-smi") is not None and not torch.cuda.is_available()
    remedy = "there is an NVIDIA driver but this PyTorch can't use it: install a build for its CUDA version"
    count = f", {torch.cuda.device_count()} of them" if device.type == "cuda" else ""
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    yield Finding("device", f"{device_name(device)}{count}{threads}", remedy if idle else None)
    bf16 = "in hardware" if precision == "bf16" else "no: runs are in fp32 unless train.precision says bf16"
    yield Finding("bf16", bf16)
    if device.type == "cpu":
        passes = library() is not None
        remedy = "a C compiler (cc, gcc or clang) makes training on a CPU faster; without one all works"
        why = "on, from this machine's C compiler" if passes else "off: no C compiler that works"
        yield Finding("fast passes", why, None if passes else remedy)
    try:
        yield Finding("one step", _one_step(device, precision))
    except Exception as error:
        yield Finding("one step", _first_line(error), "training fails on this device with this PyTorch", True)


def _one_step(device: Any, precision: str) -> str:
    """Trains a tiny network for a step."""
    import time

    import torch

    from cbam_ablate.accel import accelerate
    from cbam_ablate.config import load_config
    from cbam_ablate.models import build_model
    from cbam_ablate.training.evaluate import autocast

    cfg = load_config(["backbone=resnet_cifar", "model.width=4", "placement=block", "reduction=2"])
    network = accelerate(build_model(cfg).to(device), device)
    started = time.perf_counter()
    with autocast(device, precision):
        loss = network(torch.zeros(4, 3, 32, 32, device=device)).float().logsumexp(1).sum()
    loss.backward()
    if not torch.isfinite(loss).item():
        raise RuntimeError("a network of zeros gives a loss that is no number")
    return f"works ({time.perf_counter() - started:.1f} s, CBAM in every block, {precision})"


def _extras() -> Finding:
    versions = {
        name: f"{package} {_version(package)}" for name, package in EXTRAS.items() if _version(package)
    }
    there = [f"{name} ({version})" for name, version in versions.items()]
    absent = [name for name in EXTRAS if name not in versions]
    shown = [", ".join(there) or "none", *([f"without {', '.join(absent)}"] if absent else [])]
    return Finding("extras", "; ".join(shown))


def _folders(store: str, cache: str | None) -> Iterator[Finding]:
    import json

    from platformdirs import user_cache_path

    folder = Path(cache).expanduser() if cache else user_cache_path("cbam_ablate")
    yield _disk("cache", folder, "data.cache")
    sets = []
    for meta in sorted(folder.glob("*/meta.json")):
        try:
            known = json.loads(meta.read_text())
            size = sum(file.stat().st_size for file in meta.parent.iterdir())
            kept = known.get("sha256") or {"content": known["content"]}  # of whole images
            digest = kept.get("train_images") or next(iter(kept.values()))
            sets.append(f"{meta.parent.name} {str(digest)[:8]} ({size / 2**20:.0f} MiB)")
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            sets.append(f"{meta.parent.name} (damaged: it will be made anew)")
    yield Finding("data sets", ", ".join(sets) or "none yet; the first training fetches its own")
    yield _disk("store", Path(store).expanduser(), "store")


def _disk(name: str, folder: Path, option: str) -> Finding:
    """A folder that is written to, its free space, and whether it can be."""
    there = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    free = shutil.disk_usage(there).free
    shown = str(folder).replace(str(Path.home()), "~", 1)
    text = f"{shown}, {free / 2**30:.1f} GiB free"
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        remedy = f"set {option}= to a folder that can be written to"
        return Finding(name, f"{text}, can't be written to ({error.strerror})", remedy, True)
    low = free < LEAST_FREE
    return Finding(name, text, f"make room, or set {option}= to another disk" if low else None)


def _wandb() -> Finding:
    mode = os.environ.get("WANDB_MODE", "online")
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    known = "WANDB_API_KEY" in os.environ or (
        netrc.is_file() and "wandb" in netrc.read_text(errors="replace")
    )
    return Finding(
        "W&B", f"mode {mode}, {'a key is set' if known else 'no key is set'} (used by logger=wandb)"
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
