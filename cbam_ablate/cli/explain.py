"""cbam-ablate explain study=NAME|run=KEY[,KEY2,...] [images=8] [n=500] [seed=0] [out=FOLDER] [name=value ...]

What stored networks (the checkpoint of the chosen epoch) look at in test images, side by side: Grad-CAM of
the predicted class on the last feature map, and CBAM's last spatial gate. Written to explain.png and, for a
paper, explain.pdf. Of a study it is one network of each row of the table, all of the first seed that all rows
have finished. `images` is how many, drawn by `seed`, or which, by their number in the test set:
images=3,17,42 (one: images=3,).

In numbers, over `n` test images drawn by `seed`: by how much the confidence in the predicted class drops on
average when the image is masked by its Grad-CAM (lower is better), and how often it rises (higher is better),
as Grad-CAM++ (Chattopadhay et al., 2018) defines them, each with a 95 % interval over images: these are of
one trained network, not of an architecture. Printed, and written to explain.json.

`out` is by default <store>/explain/STUDY or KEYS. Also taken: store=, data.root=, data.cache=, train.device=.
"""

from pathlib import Path
from typing import Any

from cbam_ablate.cli.arguments import apply, read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.config.canonical import effective, from_dict
from cbam_ablate.config.options import short_name, spell
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError, StoreError
from cbam_ablate.runs import Run, RunStore

TAKEN = ("data.root", "data.cache", "train.device")
MOST_SHOWN = 64
IN_WORDS = {
    "seed", "model.backbone", "model.depth", "model.timm", "model.torchvision", "model.attention.kind",
    "model.attention.placement", "model.attention.timm",
}  # fmt: skip
"""What `network` says."""


def main(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("run", "study", "images", "n", "seed", "out"), TAKEN)
    images, n = _images(values.pop("images", "8")), _number("n", values.pop("n", "500"), 2)
    seed, out = _number("seed", values.pop("seed", "0"), 0), values.pop("out", None)
    asked = [prefix for prefix in values.pop("run", "").split(",") if prefix]
    if bool(asked) == ("study" in values):
        raise ConfigError(
            "explain: which runs? study=NAME, or keys or their first digits, as in run=KEY,KEY2"
        )
    study = values.get("study")
    if asked:
        store = RunStore(values.pop("store"))
        runs = [store.find(prefix) for prefix in asked]
        configs = [_config(run, values) for run in runs]
        labels = _labels(configs, runs)
    else:
        store, labels, runs = _rows(values)
        configs = [_config(run, values) for run in runs]

    from cbam_ablate.explain.compare import compare
    from cbam_ablate.explain.figure import draw, save
    from cbam_ablate.runs.files import write_json

    found = compare(configs, runs, images, n, seed)
    name = study or "+".join(run.key[:8] for run in runs)
    folder = Path(out) if out else store.root / "explain" / name
    files = save(draw(found.shown, labels, [one.maps for one in found.runs]), folder)
    record = {
        "data": configs[0].data.name,
        "dataset_sha256": found.sha256,
        "images": found.measured,
        "seed": seed,
        "shown": found.shown.numbers.tolist(),
        "runs": [
            {
                "run": run.key,
                "network": label.replace("\n", ", "),
                "average_drop": one.drop._asdict(),
                "increase_in_confidence": one.rise._asdict(),
            }
            for run, label, one in zip(runs, labels, found.runs, strict=True)
        ],
    }
    write_json(folder / "explain.json", record)
    _print(record)
    print(*files, folder / "explain.json", sep="\n")
    return 0


def _rows(values: dict[str, Any]) -> tuple[RunStore, list[str], list[Run]]:
    """Of each row of a study's table that has finished runs: its label, and one of them."""
    from cbam_ablate.aggregate.findings import label
    from cbam_ablate.aggregate.records import SEED, load_study
    from cbam_ablate.report.markup import plain
    from cbam_ablate.report.write import table_of

    store, name = take_study(values)
    study = load_study(store.root, name)
    rows = {}
    for row in table_of(study).rows:
        by_seed = {
            int(study.config(key).get(SEED, 0)): key
            for key in row.run_keys
            if store.run(key).state().name == "finished" and store.run(key).best.exists()
        }
        if by_seed:
            rows[label(row, plain)] = by_seed
    if not rows:
        raise StoreError(f"study={name}: no run of it is finished and still has its checkpoint")
    shared = set.intersection(*(set(seeds) for seeds in rows.values()))
    keys = [seeds[min(shared or seeds)] for seeds in rows.values()]
    seeds = [min(shared or seeds) for seeds in rows.values()]
    labels = [f"{text}\nseed {seed}" for text, seed in zip(rows, seeds, strict=True)]
    return store, labels, [store.run(key) for key in keys]


def _labels(configs: list[RunConfig], runs: list[Run]) -> list[str]:
    """Each network in words, with the options in which it differs from the others; a key where none does."""
    every = [effective(cfg) for cfg in configs]
    apart = [
        name
        for name in every[0]
        if name not in IN_WORDS and len({repr(options.get(name)) for options in every}) > 1
    ]
    labels = []
    for cfg, options, run in zip(configs, every, runs, strict=True):
        differs = [f"{short_name(name, apart)} {spell(options[name])}" for name in apart if name in options]
        unfinished = [] if run.result() is not None else [run.state().name]
        labels.append("\n".join([network(cfg), *differs, *unfinished]))
    return [
        label if labels.count(label) == 1 else f"{label}\n{run.key[:8]}"
        for label, run in zip(labels, runs, strict=True)
    ]


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
