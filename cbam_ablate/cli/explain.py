"""cbam-ablate explain run=KEY[,KEY2,...] [images=8] [n=500] [seed=0] [out=FOLDER] [name=value ...]

What stored networks (the checkpoint of the chosen epoch) look at in test images, side by side: Grad-CAM of
the predicted class on the last feature map, and CBAM's last spatial gate. Written to explain.png. `images` is
how many, drawn by `seed`, or which, by their number in the test set: images=3,17,42 (one: images=3,).

In numbers, over `n` test images drawn by `seed`: by how much the confidence in the predicted class drops on
average when the image is masked by its Grad-CAM (lower is better), and how often it rises (higher is better),
as Grad-CAM++ (Chattopadhay et al., 2018) defines them, each with a 95 % interval over images: these are of
one trained network, not of an architecture. Printed, and written to explain.json.

`out` is by default <store>/explain/KEYS. Also taken: store=, data.root=, data.cache=, train.device=.
"""

from pathlib import Path
from typing import Any

from cbam_ablate.cli.arguments import apply, read_arguments
from cbam_ablate.config.canonical import from_dict
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError, StoreError
from cbam_ablate.runs import Run, RunStore

TAKEN = ("data.root", "data.cache", "train.device")
MOST_SHOWN = 64


def main(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("run", "images", "n", "seed", "out"), TAKEN)
    store = RunStore(values.pop("store"))
    images, n = _images(values.pop("images", "8")), _number("n", values.pop("n", "500"), 2)
    seed, out = _number("seed", values.pop("seed", "0"), 0), values.pop("out", None)
    runs = [store.find(prefix) for prefix in values.pop("run", "").split(",") if prefix]
    if not runs:
        raise ConfigError("run=: which runs? keys or their first digits, as in run=KEY,KEY2")
    configs = [_config(run, values) for run in runs]

    from cbam_ablate.explain.compare import compare
    from cbam_ablate.explain.figure import draw
    from cbam_ablate.runs.files import write_json

    found = compare(configs, runs, images, n, seed)
    folder = Path(out) if out else store.root / "explain" / "+".join(run.key[:8] for run in runs)
    folder.mkdir(parents=True, exist_ok=True)
    headings = [f"{network(cfg)}\n{run.key[:8]}" for cfg, run in zip(configs, runs, strict=True)]
    figure = draw(found.shown, headings, [one.maps for one in found.runs])
    figure.savefig(folder / "explain.png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    record = {
        "data": configs[0].data.name,
        "dataset_sha256": found.sha256,
        "images": found.measured,
        "seed": seed,
        "shown": found.shown.numbers.tolist(),
        "runs": [
            {
                "run": run.key,
                "network": network(cfg).replace("\n", ", "),
                "average_drop": one.drop._asdict(),
                "increase_in_confidence": one.rise._asdict(),
            }
            for run, cfg, one in zip(runs, configs, found.runs, strict=True)
        ],
    }
    write_json(folder / "explain.json", record)
    _print(record)
    print(f"{folder / 'explain.png'}\n{folder / 'explain.json'}")
    return 0


def _number(name: str, text: str, low: int) -> int:
    if not text.isdecimal() or int(text) < low:
        raise ConfigError(f"{name}={text}: must be a whole number, at least {low}")
    return int(text)


def _images(text: str) -> int | list[int]:
    """How many images, or which."""
    which = [_number("images", part, 0) for part in text.strip("[]").split(",") if part]
    count = len(which) if "," in text else sum(which)
    if not 1 <= count <= MOST_SHOWN:
        raise ConfigError(f"images={text}: a figure shows 1 to {MOST_SHOWN}")
    return which if "," in text else count


def _config(run: Run, values: dict[str, Any]) -> RunConfig:
    config = run.config()
    if config is None:
        raise StoreError(f"run={run.key}: there is no config.json in {run.path}, so the network isn't known")
    return apply(from_dict(config), values)


def network(cfg: RunConfig) -> str:
    """The run's network in two short lines."""
    model, where = cfg.model, cfg.model.attention.placement
    name = model.timm or model.torchvision or f"{model.backbone} {model.depth}"
    kind = model.attention.timm if model.attention.kind == "timm" else model.attention.kind
    return f"{name}\n{'no attention' if where == 'none' else f'{kind} {where}'}, seed {cfg.seed}"


def _print(record: dict[str, Any]) -> None:
    names = [run["network"] for run in record["runs"]]
    width = max(map(len, names))
    print(f"{record['images']} test images of {record['data']} masked by their Grad-CAM, 95 % intervals")
    print(f"{'run':<8}  {'network':<{width}}  {'average drop, %':>19}  {'confidence rises, %':>19}")
    for run in record["runs"]:
        cells = "".join(
            f"  {'{value:.1f} [{low:.1f}, {high:.1f}]'.format(**run[name]):>19}"
            for name in ("average_drop", "increase_in_confidence")
        )
        print(f"{run['run'][:8]}  {run['network']:<{width}}{cells}")
