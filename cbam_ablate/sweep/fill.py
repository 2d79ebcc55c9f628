"""Fills in the predictions of finished runs that have only a checkpoint."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cbam_ablate.config.canonical import from_dict
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.data import make_feed
from cbam_ablate.errors import UserError
from cbam_ablate.metrics.predictions import Refused, form_of, unpack
from cbam_ablate.models import build_model
from cbam_ablate.runs import Run
from cbam_ablate.runs.writer import fill_in_predictions
from cbam_ablate.sweep.keep import packed
from cbam_ablate.training import checkpoint
from cbam_ablate.training.device import pick_device, pick_precision
from cbam_ablate.training.evaluate import autocast, evaluate
from cbam_ablate.training.layout import lay_out
from cbam_ablate.training.outputs import Outputs


class Filled(NamedTuple):
    """What became of one run: `done` where it has predictions now, and a few words."""

    key: str
    done: bool
    words: str


def fill_in(runs: list[Run], change: Callable[[RunConfig], RunConfig]) -> Iterator[Filled]:
    """Evaluates what has no usable predictions. `change` sets where data is and the device to use."""
    for run in runs:
        try:
            yield Filled(run.key, True, _fill(run, change))
        except UserError as error:
            yield Filled(run.key, False, str(error))


def _fill(run: Run, change: Callable[[RunConfig], RunConfig]) -> str:
    result, config = run.result(), run.config()
    if result is None:
        raise Refused(f"not finished ({run.state().name})")
    why = usable(run, result)
    if not why:
        return "has its predictions"
    if config is None:
        raise Refused(f"there is no config.json in {run.path}, so the network isn't known")
    content = evaluated(run.key, run, change(from_dict(config)), result)
    unpack(content, run.key, result)
    fill_in_predictions(run, content)
    return f"evaluated ({why})"


def usable(run: Run, result: dict[str, Any]) -> str:
    """Why a run's predictions can't be used; empty where they can."""
    try:
        unpack(run.predictions.read_bytes(), run.key, result)
    except FileNotFoundError:
        return "there were none"
    except Refused as error:
        return str(error)
    return ""


def evaluated(key: str, run: Run, cfg: RunConfig, result: dict[str, Any]) -> bytes:
    """The predictions of a run's checkpoints: best.pt's of test and validation, last.pt's of test.

    Raises `Refused` where the data is another than the run's, or no form of them is small enough.
    """
    device = pick_device(cfg.train.device)
    precision = pick_precision(cfg.train.precision, device)
    feed, selection = make_feed(cfg, device, precision), result["selection"]
    expected = (result.get("provenance") or {}).get("dataset_sha256")
    if expected and feed.sha256 != expected:
        raise Refused(
            f"data={cfg.data.name} is another here ({feed.sha256[:12]}) than the run's ({expected[:12]})"
        )
    kept = form_of(feed.classes, 2 * len(feed.numbers["test"]) + len(feed.numbers["val"]))
    if kept is None:
        raise Refused("its predictions would be too large to keep")
    wanted: list[tuple[str, tuple[str, ...]]] = [("best", ("test", "val"))]
    if selection.get("epoch") != selection.get("epochs") and run.last.exists():
        wanted.append(("last", ("last_test",)))
    outputs: dict[str, Outputs] = {}
    for which, parts in wanted:
        same = selection.get("epoch") == selection.get("epochs") and not run.best.exists()
        path = run.last if which == "last" or same else run.best
        model = lay_out(cfg, build_model(cfg, pretrained=False), device)
        checkpoint.load_weights(model, checkpoint.evaluated_weights(checkpoint.load(path, key)), str(path))
        for part in parts:
            outputs[part] = Outputs(kept)
            images = feed.evaluate(part.removeprefix("last_"))
            evaluate(model, images, device, autocast(device, precision), outputs[part])
    return packed(key, feed, outputs, selection)
