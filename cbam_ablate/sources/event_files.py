"""Folders of TensorBoard event files: scalars and hparams, read by tensorboard's own reader."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbam_ablate.errors import ConfigError
from cbam_ablate.sources.folders import holders, natural, options_of_name, read_yaml, relative
from cbam_ablate.sources.found import Found, Wanted, count, flat, listed, plain
from cbam_ablate.sources.lightning import take
from cbam_ablate.sources.series import Series, go_on, once, rule_of

PARTS = ("train", "validation", "val", "test", "eval")
"""Folders that Keras makes for the parts of one run."""
RECORD = 16
"""Bytes that a record's length and checksums take in the file."""
HPARAMS = "_hparams_/session_start_info"


@dataclass
class Events:
    """What one folder's files hold: scalars by tag, hyperparameters, and sentences about them."""

    series: Series = field(default_factory=dict)
    hparams: dict[str, Any] = field(default_factory=dict)
    overwritten: int = 0
    damaged: list[str] = field(default_factory=list)


def read(root: Path, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs below a folder, and sentences about them. Raises `UserError`."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise ConfigError("event files need tensorboard: pip install 'cbam_ablate[tensorboard]'") from None
    folders = list(holders(root, lambda _, files: any("tfevents" in name for name in files)))
    events = {folder: read_folder(folder) for folder in folders}
    runs = []
    for home, parts in _homes(events, root).items():
        name = relative(home, root)
        series: Series = {}
        hparams: dict[str, Any] = {}
        for folder, called in parts.items():
            hparams |= events[folder].hparams
            for tag, points in events[folder].series.items():
                series[called.format(tag)] = points
        config = hparams or _yaml(home / "hparams.yaml") or options_of_name(name)
        run = Found(name, name, config, rule=rule_of(wanted.step))
        take(run, series, wanted.step)
        runs.append(run)
    return runs, _odd(events, root)


def read_folder(folder: Path) -> Events:
    """A folder's event files, in the order in which they were begun.

    Where a later file starts again at an earlier step, as a resumed run does, its values count: the older
    ones from that step on are dropped, as TensorBoard does, and counted.
    """
    found = Events()
    files = [path for path in folder.iterdir() if "tfevents" in path.name and path.is_file()]
    for path in sorted(files, key=lambda path: natural(path.name)):
        series: Series = {}
        start, size = None, 0
        for length, event in _events(path):
            size += length + RECORD
            if event.HasField("session_log") and event.session_log.status == event.session_log.START:
                start = event.step or None
            for value in event.summary.value:
                if value.tag == HPARAMS:
                    found.hparams |= _hparams(value.metadata.plugin_data.content)
                elif (scalar := _scalar(value)) is not None:
                    series.setdefault(value.tag, []).append((event.step, scalar))
        found.overwritten += once(series) + go_on(found.series, series, start)
        if size < path.stat().st_size:
            found.damaged.append(path.name)
    return found


def _events(path: Path) -> Iterator[tuple[int, Any]]:
    """Each event with its length in bytes; the reader ends where the file is cut short or damaged."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    for record in RawEventFileLoader(str(path)).Load():
        yield len(record), Event.FromString(record)


def _scalar(value: Any) -> float | None:
    """A summary's number: in its own field, or as TensorFlow 2 writes it in a tensor of one."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or value.metadata.plugin_data.plugin_name not in ("", "scalars"):
        return None
    from tensorboard.util.tensor_util import make_ndarray

    try:
        found = make_ndarray(value.tensor)
    except (TypeError, ValueError):
        return None
    return float(found) if found.size == 1 and found.dtype.kind in "fiu" else None


def _hparams(content: bytes) -> dict[str, Any]:
    """The hyperparameters of a session; add_hparams writes integers as floats."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = {}
    for name, value in HParamsPluginData.FromString(content).session_start_info.hparams.items():
        kind = value.WhichOneof("kind")
        plainly = getattr(value, kind) if kind in ("number_value", "string_value", "bool_value") else None
        found[name] = int(plainly) if isinstance(plainly, float) and plainly.is_integer() else plain(plainly)
    return dict(sorted(found.items()))


def _yaml(path: Path) -> dict[str, Any]:
    found = read_yaml(path) if path.exists() else None
    return {name: plain(value) for name, value in flat(found)} if isinstance(found, dict) else {}


def _homes(events: dict[Path, Events], root: Path) -> dict[Path, dict[Path, str]]:
    """By run its folders, each with what its tags are called there (`{}` for the tag).

    Keras writes a folder a part of the run; add_scalars one a curve, called by its only tag; add_hparams one
    for the hyperparameters, which belongs to the run above where that has curves and no other such folder.
    """
    above = {folder: next((p for p in folder.parents if p in events), None) for folder in events}
    sessions = Counter(above[folder] for folder in events if events[folder].hparams)
    homes: dict[Path, dict[Path, str]] = {}
    for folder, found in events.items():
        home, called = folder, "{}"
        parent = above[folder]
        curve = next(iter(found.series), "").replace("/", "_")
        if folder.name in PARTS and folder != root:
            home, called = folder.parent, f"{folder.name}/{{}}"
        elif parent is not None and found.hparams:
            alone = sessions[parent] == 1 and events[parent].series and not events[parent].hparams
            home = parent if alone else folder
        elif parent is not None and len(found.series) == 1 and folder.name.startswith(f"{curve}_"):
            home, called = parent, f"{{}}/{folder.name.removeprefix(f'{curve}_')}"
        homes.setdefault(home, {})[folder] = called
    return {
        home: parts
        for home, parts in homes.items()
        if any(events[p].series or events[p].hparams for p in parts)
    }


def _odd(events: dict[Path, Events], root: Path) -> list[str]:
    notes = []
    again = {folder: found.overwritten for folder, found in events.items() if found.overwritten}
    if again:
        where = listed([relative(folder, root) for folder in again], 3)
        notes.append(
            f"{count(sum(again.values()), 'value')} in {count(len(again), 'folder')} ({where}) were logged "
            "again, as by a run that goes on from an earlier step: the later ones count."
        )
    damaged = [
        f"{relative(folder, root)}/{name}" for folder, found in events.items() for name in found.damaged
    ]
    if damaged:
        notes.append(
            f"{count(len(damaged), 'event file')} {'are' if len(damaged) > 1 else 'is'} cut short or damaged "
            f"({listed(damaged, 3)}): what stands before that counts."
        )
    return notes
