"""cbam-ablate train [-m] [name=value ...]

Trains one run: cbam-ablate train backbone=resnet depth=18 placement=block reduction=16 kernel=7
With -m, a sweep of every combination: cbam-ablate train -m placement=none,block,class seed=0,1,2
A declared study: cbam-ablate train study=placement; axes on the command line replace its axes.
The same command again goes on where it was, and runs only what is missing.
Hydra's flags are as its users know them: --cfg job|hydra|all with --package and --resolve, --info,
--hydra-help, --config-dir, --config-name, --config-path. eval "$(cbam-ablate -sc install=bash)" in ~/.bashrc
completes words.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from cbam_ablate.cli import collect_again, fail
from cbam_ablate.cli.ahead import while_torch_is_imported
from cbam_ablate.cli.flags import read_flags
from cbam_ablate.config.where import main_config
from cbam_ablate.console import console
from cbam_ablate.runs import Run
from cbam_ablate.runs.claim import describe, holder

if TYPE_CHECKING:
    from cbam_ablate.sweep.asked import Outline
    from cbam_ablate.sweep.plan import Plan

AGAIN = "The same again would too; sweep.mode=retry trains it anew all the same."
NOT_DONE = "Not trained yet, and sweep.mode doesn't ask for it."


def main(arguments: Sequence[str]) -> int:
    flags = read_flags(arguments)
    with flags.looking():
        if flags.show():
            return 0
        if flags.sweep:
            asked = _outline(flags.texts, sweep=True)
        else:
            asked = while_torch_is_imported(flags.texts, _outline)
        # Before anything is started that jobs inherit it from.
        with _environment(asked.environment):
            return _sweep(asked, arguments) if flags.sweep else _single(asked)


def _environment(given: dict[str, str]) -> AbstractContextManager[None]:
    if not given:
        return nullcontext()
    from hydra.core.utils import env_override

    changed: AbstractContextManager[None] = env_override(given)
    return changed


def _outline(texts: list[str], sweep: bool = False) -> "Outline":
    from cbam_ablate.sweep.outline import make_outline

    return make_outline(texts, sweep)


def _single(asked: "Outline") -> int:
    from cbam_ablate.data import prepare
    from cbam_ablate.sweep.callbacks import told_of_single
    from cbam_ablate.sweep.job import run_one
    from cbam_ablate.sweep.plan import plan_outline
    from cbam_ablate.sweep.run import DIVERGED, refuse_denied

    collect_again()
    cfg, plan = asked.base, plan_outline(asked)
    run = plan.store.run(next(iter(plan.runs)))
    if cfg.sweep.dry_run:
        from cbam_ablate.cli.show import show

        return show(plan)
    if not plan.to_run():
        if run.state().diverged:
            return fail(f"run {run.key} has diverged: {run.state().error}\n{AGAIN} ({run.path})", DIVERGED)
        print(
            f"{_told(run)}\nAlready trained; sweep.mode=force trains it anew." if run.result() else NOT_DONE
        )
        return int(run.result() is None)
    refuse_denied(plan)
    plan.store.make_writable()
    prepare(cfg)
    if cfg.sweep.mode == "force":
        plan.set_aside()
    print(f"run {run.key} in {run.path}")
    with told_of_single(asked.composed, cfg), _watched(plan):
        state = run_one(cfg)
    if state.name == "finished":
        print(_told(run))
        return 0
    if state.name == "interrupted":
        return fail(f"stopped and saved; the same command goes on ({run.path})", 130)
    if state.name == "running":
        return fail(f"run {run.key} is being trained by another process, {describe(holder(run.path) or {})}")
    if state.diverged:
        return fail(f"diverged: {state.error}\n{AGAIN} ({run.path})", DIVERGED)
    return fail(f"failed ({state.failure}): {state.error}\nThe traceback is in {run.path / 'traceback.txt'}")


def _watched(plan: "Plan") -> AbstractContextManager[object]:
    if not console().is_terminal:
        return nullcontext()
    from cbam_ablate.sweep.watch import watching

    return watching(plan)


def _told(run: Run) -> str:
    result = run.result() or {}
    metrics, chosen, cost = result["metrics"], result["selection"], result["cost"]
    return (
        f"run {run.key}: test top-1 {metrics['test_top1']:.2f} %, top-5 {metrics['test_top5']:.2f} % at "
        f"epoch {chosen['epoch']} of {chosen['epochs']} ({chosen['rule']}); {cost['params']:,} parameters, "
        f"{cost['macs'] / 1e6:.1f} M MACs, trained in {cost['train_seconds']:.0f} s\n{run.path}"
    )


def _sweep(asked: "Outline", arguments: Sequence[str]) -> int:
    from cbam_ablate.sweep.callbacks import make_callbacks
    from cbam_ablate.sweep.launchers import make_launcher

    callbacks = make_callbacks(asked.composed.hydra)
    callbacks.on_multirun_start(config=asked.composed, config_name=main_config())
    launcher = make_launcher(asked, callbacks)
    if asked.unfinished():
        launcher.warm_up()

    from cbam_ablate.cli.ending import close
    from cbam_ablate.cli.show import show
    from cbam_ablate.runs.provenance import command
    from cbam_ablate.sweep.plan import plan_outline
    from cbam_ablate.sweep.run import run_plan

    collect_again()
    plan = plan_outline(asked)
    if plan.base.sweep.dry_run:
        return show(plan)
    if asked.ignored:
        print("\n".join(asked.ignored), flush=True)
    launcher.guesses = plan.guesses
    outcome = run_plan(plan, launcher.launch, command(), launcher.alone)
    callbacks.on_multirun_end(config=asked.composed, config_name=main_config())
    return close(outcome, arguments)
