"""cbam-ablate wandb push study=NAME | run=KEY [logger.wandb.project=... logger.wandb.entity=...]
cbam-ablate wandb pull ENTITY/PROJECT [study=TAG] [axes=A,B,...] [seed=NAME]
cbam-ablate wandb report study=NAME

push sends Weights & Biases what the store holds: runs, and a study's table and plots. Nothing of it is needed
while training, and what is sent again replaces what was there. logger.wandb.mode=offline writes it to
<store>/wandb instead.
pull brings the runs of a project, anybody's, to <store>/pulled/ENTITY/PROJECT, which is a store that
`cbam-ablate table` makes tables of. study= takes only the runs with this tag. The axes are the options that
differ between the runs, or those named; seed= names the one to average over, seed=id says that there is
none: runs of the same options are repeats, paired with no others.
report makes a W&B Report of a study; it needs the package wandb-workspaces.
Also taken: store=.
"""

import dataclasses
import shlex
from typing import Any

from rich.progress import Progress

from cbam_ablate.cli import fail
from cbam_ablate.cli.arguments import read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.config.schema import WandbConfig
from cbam_ablate.console import console
from cbam_ablate.errors import ConfigError, ServiceError, StoreError
from cbam_ablate.runs import RunStore
from cbam_ablate.sources.found import count
from cbam_ablate.sweep.manifest import read

OPTIONS = ("logger.wandb.project", "logger.wandb.entity", "logger.wandb.mode")
REPEATS = "id"
"""The seed= of runs that have none: each is a repeat of its own, paired with no other."""
PATIENCE = 30.0
"""Seconds that W&B may take to start a run, and to take its last data in."""


def main(arguments: list[str]) -> int:
    actions = {"push": _push, "pull": _pull, "report": _report}
    if not arguments or arguments[0] not in actions:
        raise ConfigError(f"wandb {arguments[0] if arguments else ''}: not one of {', '.join(actions)}")
    try:
        return actions[arguments[0]](arguments[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "wandb":
            raise
        raise ServiceError("the package wandb isn't installed: pip install wandb") from error


def _push(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("study", "run"), OPTIONS)
    from cbam_ablate.loggers import wandb_push as push
    from cbam_ablate.loggers.wandb_run import DELETED, NotSentError
    from cbam_ablate.loggers.wandb_study import send_study

    changes = _changes(values)
    if "run" in values:
        store, study = RunStore(values["store"]), None
        run = store.find(values["run"])
        if not run.history():
            raise StoreError(f"run={values['run']}: has not trained an epoch")
        runs, cfg = [run], WandbConfig()
    else:
        store, study = take_study(values)
        manifest = read(store.study(study) / "manifest.json")
        runs, cfg = push.runs_of(manifest, store), push.options_of(manifest)
    changes = {"mode": "online", **changes, "enabled": True}
    problems: dict[str, str] = {}
    sent = ""
    with _progress() as bar:
        task = bar.add_task("sending", total=len(runs))
        for run, state in push.push_runs(runs, lambda own: dataclasses.replace(own, **changes), PATIENCE):
            bar.advance(task)
            if state.get("why"):
                problems[run.key] = state["why"]
            offline = state.get("offline") and str(run.path.parents[1] / "wandb")
            sent = state.get("url") or offline or sent
        if study is not None and not problems:
            try:
                sent = send_study(store.root, study, dataclasses.replace(cfg, **changes), PATIENCE) or sent
            except NotSentError as error:
                problems[f"the table of {study}"] = str(error)
    if not problems:
        told = f"{count(len(runs), 'run')}{' and the table' if study else ''}"
        print(f"{told}: {sent}" if sent else f"{told}: nothing to send")
        return 0
    told = "\n".join(f"  {what}: {why}" for what, why in problems.items())
    again = shlex.join(["cbam-ablate", "wandb", "push", *arguments])
    deleted = all(why.startswith(DELETED) for why in problems.values())
    more = "" if deleted else f"\nThe same command tries again: {again}"
    return fail(f"{len(problems)} of {len(runs)} were not sent\n{told}{more}")


def _progress() -> Progress:
    return Progress(console=console(), transient=True, disable=not console().is_terminal)


def _changes(values: dict[str, Any]) -> dict[str, Any]:
    return {name.rpartition(".")[2]: values.pop(name) for name in OPTIONS if name in values}


def _pull(arguments: list[str]) -> int:
    given = bool(arguments) and "=" not in arguments[0]
    path, arguments = (arguments[0], arguments[1:]) if given else ("", arguments)
    entity, _, project = path.partition("/")
    if not project or "/" in project or ".." in (entity, project):
        raise ConfigError(f"wandb pull {path}: which project? ENTITY/PROJECT")
    values = read_arguments(arguments, ("study", "axes", "seed"))
    from cbam_ablate.loggers import wandb_pull
    from cbam_ablate.sources import Wanted
    from cbam_ablate.sources.load import study_of
    from cbam_ablate.sources.write import write_study

    with _progress() as bar:
        task = bar.add_task(f"reading {path}", total=None)
        runs = wandb_pull.pull(
            path, values.get("study"), lambda done, total: bar.update(task, completed=done, total=total)
        )
    if not runs:
        raise ServiceError(f"wandb pull {path}: no such runs; a study's runs have its name as a tag")
    if values.get("seed") == REPEATS:
        for run in runs:
            run.config.setdefault(REPEATS, run.address.rpartition("/")[2])
    named = [name for name in values.get("axes", "").strip("[]").split(",") if name]
    root = RunStore(values["store"]).root / "pulled" / entity / project
    study = (values.get("study") or project).replace("/", "-")
    wanted = Wanted(axes=tuple(named), seed=(values["seed"],) if "seed" in values else ())
    found = study_of(runs, [], study, wanted, ["cbam-ablate", "wandb", "pull", path])
    if all(run.sparse for run in runs):
        found.manifest["table"] = {}  # what this program measures has a table of its own
    measured = write_study(root, runs, found.manifest)
    done = sum(run.state == "finished" for run in runs)
    rows = sum(len(run.history) for run in runs)
    print(f"{count(len(runs), 'run')}, {done} finished, {count(rows, 'row')} of history, to {root}")
    print(f"axes: {', '.join(found.manifest['axes']) or 'none'}; measured: {', '.join(measured)}")
    for note in found.notes:
        print(note)
    print(f"Its table: {shlex.join(['cbam-ablate', 'table', f'study={study}', f'store={root}'])}")
    return 0


def _report(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("study",), OPTIONS[:2])
    from cbam_ablate.loggers.wandb_push import options_of
    from cbam_ablate.loggers.wandb_report import make_report

    changes = _changes(values)
    store, study = take_study(values)
    options = options_of(read(store.study(study) / "manifest.json"))
    print(make_report(store.root, study, dataclasses.replace(options, **changes)))
    return 0
