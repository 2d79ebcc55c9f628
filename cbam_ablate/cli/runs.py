"""cbam-ablate runs [OPTION=VALUE[,VALUE...] ...] [study=NAME] [state=NAME] [metric=test_top1] [store=FOLDER]

Lists the store's runs, the last trained at the end: name, key, state, date and metric (its unit is the
table's). An option keeps the runs that have one of these values: placement=block kernel=3,7 optimizer.lr=0.1.
study= keeps a study's, state= those that are finished, failed, running, interrupted, new or unusable.
`evaluate run=NAME` takes a run's name as it does a key.
"""

import contextlib
import difflib
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from cbam_ablate.aggregate.records import Record, Study, load_study, read_manifest, read_record
from cbam_ablate.cli.arguments import read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.config.canonical import flatten, from_dict, inert
from cbam_ablate.config.options import ALIASES, as_typed, dotted_names, holder_of, same, spell
from cbam_ablate.config.overrides import parse
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.naming import names_of

OWN = ("study", "state", "metric", "store")
STATES = ("finished", "failed", "running", "interrupted", "new", "unusable")
REFUSED = "refused"
"""What a record calls an unusable result."""
DEFAULT = "test_top1"


class Line(NamedTuple):
    """A run: its options by dotted name, and when it was last written to, in seconds since 1970."""

    name: str
    record: Record
    options: Mapping[str, Any]
    when: float | None


def main(arguments: list[str]) -> int:
    own = [text for text in arguments if text.partition("=")[0] in OWN]
    values = read_arguments(own, OWN[:3])
    wanted = _wanted([text for text in arguments if text not in own])
    state, metric = values.pop("state", None), values.pop("metric", DEFAULT)
    if state not in (None, *STATES):
        raise ConfigError(f"state={state}: not one of {', '.join(STATES)}")
    lines = _of_study(values) if "study" in values else _of_store(RunStore(values["store"]))
    there = {name for line in lines for name in line.record.values}
    if metric != DEFAULT and metric not in there:
        raise ConfigError(f"metric={metric}: no run here has it; there are {', '.join(sorted(there))}")
    if not lines:
        print(f"no runs in {values['store']}")
        return 0
    found = [line for line in lines if _matches(line, wanted) and state in (None, _state(line.record))]
    if not found:
        raise ConfigError(f"{' '.join(arguments)}: none of the {len(lines)} runs{_there(lines, wanted)}")
    _print(sorted(found, key=lambda line: (line.when or 0, line.name)), metric)
    return 0


def _wanted(texts: list[str]) -> dict[str, list[Any]]:
    """The values asked for, by dotted name."""
    wanted = {ALIASES.get(token.name, token.name): token.values for token in parse(texts)}
    known = [*dotted_names(), *ALIASES]
    for name in wanted:
        if name not in known and holder_of(name) is None:
            near = difflib.get_close_matches(name, [*known, *OWN], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"{name}: no option of runs; this command takes options, {', '.join(OWN)}{hint}"
            )
    return wanted


def _of_store(store: RunStore) -> list[Line]:
    lines = [_line(run, read_record(store, run.key)[0]) for run in store.runs()]
    if all(line.options for line in lines):
        return lines
    known: dict[str, dict[str, Any]] = {}  # of runs that an export has without their config.json
    for path in store.root.glob("studies/*/manifest.json"):
        with contextlib.suppress(ConfigError):
            study = read_manifest(store.root, path.parent.name)
            known |= {key: study.config(key) for key in study.runs}
    return [line if line.options else line._replace(options=known.get(line.record.key, {})) for line in lines]


def _of_study(values: dict[str, Any]) -> list[Line]:
    """A study's runs, those that have not begun too."""
    store, name = take_study(dict(values))
    study = load_study(store.root, name)
    found = []
    for key, record in study.records.items():
        line = _line(store.run(key), record)
        if not line.options:
            line = line._replace(options={**study.config(key), **_place(study, key)})
        found.append(line._replace(name=line.name or as_typed(_place(study, key))))
    return found


def _place(study: Study, key: str) -> dict[str, Any]:
    return next(place.axes for place in study.places if place.key == key)


def _line(run: Run, record: Record) -> Line:
    config = run.config() or {}
    return Line(next(iter(names_of(config)), ""), record, _options(config), _when(run))


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have an effect, by dotted name; of others' configs all that are there."""
    try:
        cfg = from_dict(config)
        without = inert(cfg)
        return {name: value for name, value in flatten(cfg).items() if name not in without} if config else {}
    except (UserError, ValueError, KeyError, TypeError, AttributeError):
        return dict(_flat(config))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")


def _when(run: Run) -> float | None:
    result = run.result()
    finished = result["provenance"].get("finished") if result is not None else None
    if isinstance(finished, str):
        return datetime.fromisoformat(finished).timestamp()
    updated = run.status().get("updated")
    return updated if isinstance(updated, int | float) else None


def _matches(line: Line, wanted: Mapping[str, list[Any]]) -> bool:
    return all(
        any(same(line.options.get(name), value) for value in values) for name, values in wanted.items()
    )


def _there(lines: list[Line], wanted: Mapping[str, list[Any]]) -> str:
    """The values that the runs have of the options that were asked for."""
    parts = []
    for name in wanted:
        values = sorted({spell(line.options.get(name)) for line in lines})
        parts.append(f"{name}: {', '.join(values[:12])}{', ...' * (len(values) > 12)}")
    return f"; there are {'; '.join(parts)}" if parts else ""


def _state(record: Record) -> str:
    return "unusable" if record.state == REFUSED else record.state


def _print(lines: list[Line], metric: str) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "key", "state", "date", metric):
        table.add_column(heading, no_wrap=True, justify="right" if heading == metric else "left")
    for name, record, _, when in lines:
        value = record.values.get(metric)
        why = record.why if record.state in ("failed", REFUSED) else record.state
        date = "" if when is None else f"{datetime.fromtimestamp(when):%Y-%m-%d %H:%M}"
        table.add_row(name, record.key, why, date, "" if value is None else f"{value:.6g}")
    Console(width=None if sys.stdout.isatty() else 250, highlight=False, markup=False).print(table)
