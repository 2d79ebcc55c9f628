"""Folders of Hydra jobs: .hydra/overrides.yaml and config.yaml in each, and a metrics file."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cbam_ablate.errors import ConfigError, DataError
from cbam_ablate.sources.folders import holders, read_yaml, relative
from cbam_ablate.sources.found import Found, Wanted, flat, listed, number, plain
from cbam_ablate.sources.json_lines import objects
from cbam_ablate.sources.lightning import series_of_csv, take
from cbam_ablate.sources.series import Series, from_rows, rule_of

USUAL = ("metrics", "results", "result", "summary", "scores", "eval", "test_metrics")
ENDINGS = (".json", ".jsonl", ".yaml", ".yml", ".csv")


def read(root: Path, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The jobs below a folder, and sentences about them. Raises `UserError`.

    Axes are what jobs were told to override; an option that only some jobs override has its value in the
    others' configs there.
    """
    jobs = list(holders(root, lambda folders, _: ".hydra" in folders))
    if not jobs:
        raise ConfigError("holds no Hydra jobs: no folder in it has a .hydra")
    parser = OverridesParser.create()
    overrides = {job: _overrides(job, parser) for job in jobs}
    overridden = dict.fromkeys(name for told in overrides.values() for name in told)
    pattern = wanted.file or _usual(jobs)
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ConfigError(f"file={pattern}: a pattern for a file in each job's folder")
    runs = []
    for job in jobs:
        config = _config(job)  # has interpolations resolved, which overrides may hold
        known = {**_choices(job), **overrides[job], **config}
        name = relative(job, root)
        run = Found(name, name, {option: known[option] for option in overridden if option in known} | config)
        run.candidates = frozenset(overridden) or None
        _measure(run, job, pattern, wanted)
        runs.append(run)
    if not any(run.values for run in runs) and not wanted.file:
        raise ConfigError(
            f"no job's folder holds {', '.join(USUAL[:3])} and so on as JSON, YAML or CSV; file=PATTERN "
            f"names its metrics file, of {listed(_files(jobs), 12)}"
        )
    return runs, []


def _usual(jobs: list[Path]) -> str:
    """The first usual name of a metrics file that a job has."""
    for name in USUAL:
        for ending in ENDINGS:
            if any((job / f"{name}{ending}").exists() for job in jobs):
                return f"{name}{ending}"
    return f"{USUAL[0]}{ENDINGS[0]}"


def _files(jobs: list[Path]) -> list[str]:
    found = (path for job in jobs[:3] for path in sorted(job.rglob("*")) if ".hydra" not in path.parts)
    return list(dict.fromkeys(path.name for path in found if path.is_file())) or ["nothing"]


def _overrides(job: Path, parser: OverridesParser) -> dict[str, Any]:
    """What a job was told, by name; deletions have no value."""
    path = job / ".hydra" / "overrides.yaml"
    told = read_yaml(path) if path.exists() else []
    if not isinstance(told, list):
        raise DataError(f"{path}: is no list of overrides")
    try:
        parsed = parser.parse_overrides([str(word) for word in told])
    except HydraException as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from None
    return {
        (one.key_or_group if one.package is None else f"{one.key_or_group}@{one.package}"): plain(
            None if one.is_delete() else one.value()
        )
        for one in parsed
    }


def _config(job: Path) -> dict[str, Any]:
    """A job's config by dotted name, interpolations resolved where they can be."""
    path = job / ".hydra" / "config.yaml"
    if not path.exists():
        return {}
    found = read_yaml(path)
    if not isinstance(found, Mapping):
        return {}
    # Some ask for resolvers or an environment that are not here.
    with suppress(OmegaConfBaseException):
        found = OmegaConf.to_container(OmegaConf.create(dict(found)), resolve=True)
    return {name: plain(value) for name, value in flat(found)} if isinstance(found, Mapping) else {}


def _choices(job: Path) -> dict[str, Any]:
    """The choice of every config group."""
    path = job / ".hydra" / "hydra.yaml"
    found = read_yaml(path) if path.exists() else {}
    for name in ("hydra", "runtime", "choices"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def _measure(run: Found, job: Path, pattern: str, wanted: Wanted) -> None:
    """Reads a job's metrics file; without one the job counts as failed."""
    try:
        paths = sorted(path for path in job.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"file={pattern}: {error}") from None
    if len(paths) > 1:
        some = listed([path.relative_to(job).as_posix() for path in paths], 3)
        raise ConfigError(f"file={pattern}: {run.address} holds {len(paths)} of them ({some}); name one")
    if not paths:
        run.state, run.failure, run.error = "failed", "no result", f"no {pattern}"
        return
    try:
        values, series = _numbers(paths[0])
    except DataError as error:
        run.state, run.failure, run.error = "failed", "unreadable", str(error)
        return
    if series:
        run.rule = rule_of(wanted.step)
        take(run, series, wanted.step)
    elif wanted.step != "last":
        raise ConfigError(f"step={wanted.step}: {paths[0].name} holds one value a metric, and no steps")
    run.values = {**values, **run.values}
    if run.values:
        run.state = "finished"


def _numbers(path: Path) -> tuple[dict[str, Any], Series]:
    """What a metrics file holds: values, or series where it has rows. Raises `DataError`."""
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv"):
        return {}, series_of_csv(path)
    if ending in (".yaml", ".yml"):
        found = read_yaml(path)
    elif ending in (".json", ".jsonl", ".ndjson"):
        try:
            found = json.loads(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path.name}: is not UTF-8 text (byte {error.start})") from None
        except ValueError:
            found = objects(path)[0]
    else:
        raise ConfigError(f"file={path.name}: ends in none of {', '.join(ENDINGS)}")
    if isinstance(found, list) and all(isinstance(row, Mapping) for row in found):
        return {}, from_rows([dict(flat(row)) for row in found])[0]
    if number(found) is not None:
        return {path.stem: found}, {}
    if not isinstance(found, Mapping):
        raise DataError(f"{path.name}: holds neither a mapping nor rows of numbers")
    return {name: value for name, value in flat(found) if not isinstance(value, Mapping | list)}, {}
