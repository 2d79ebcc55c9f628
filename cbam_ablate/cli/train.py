"""cbam-ablate train [-m] [name=value ...]

Trains one run: cbam-ablate train backbone=resnet depth=18 placement=block reduction=16 kernel=7
With -m, a sweep of every combination: cbam-ablate train -m placement=none,block,class seed=0,1,2
A declared study: cbam-ablate train study=placement; axes on the command line replace its axes.
The same command again goes on where it was, and runs only what is missing.
--cfg job prints the composed config.
"""

from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cbam_ablate.cli import fail
from cbam_ablate.config import ConfigError, load_config
from cbam_ablate.config.compose import plain_error, search_path
from cbam_ablate.config.overrides import conf_dir, parse, verify
from cbam_ablate.runs import Run
from cbam_ablate.runs.claim import describe, holder

NOT_DONE = "Not trained yet, and sweep.mode doesn't ask for it."


def main(words: list[str]) -> int:
    flags = [word for word in words if word.startswith("-")]
    words = [word for word in words if not word.startswith("-")]
    if flags and set(flags) <= {"--cfg"} and "job" in words:
        return _show([word for word in words if word != "job"])
    unknown = sorted(set(flags) - {"-m", "--multirun"})
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such flag; there are -m, --multirun, --cfg job and --help")
    study = any(word.startswith("study=") and word != "study=none" for word in words)
    return _sweep(words, flags) if flags or study else _single(words)


def _show(words: list[str]) -> int:
    from dataclasses import asdict

    from omegaconf import OmegaConf

    print(OmegaConf.to_yaml(OmegaConf.create(asdict(load_config(words)))).rstrip())
    return 0


def _single(words: list[str]) -> int:
    cfg = load_config(words)
    from cbam_ablate.cli.show import show
    from cbam_ablate.data import prepare
    from cbam_ablate.sweep.job import run_one
    from cbam_ablate.sweep.plan import plan_one

    plan = plan_one(cfg)
    run = plan.store.run(next(iter(plan.runs)))
    if cfg.sweep.dry_run:
        return show(plan)
    if not plan.to_run():
        print(
            f"{_told(run)}\nAlready trained; sweep.mode=force trains it anew." if run.result() else NOT_DONE
        )
        return int(run.result() is None)
    plan.store.make_writable()
    prepare(cfg)
    if cfg.sweep.mode == "force":
        plan.set_aside()
    print(f"run {run.key} in {run.path}")
    state = run_one(cfg)
    if state.name == "finished":
        print(_told(run))
        return 0
    if state.name == "interrupted":
        return fail(f"stopped and saved; the same command goes on ({run.path})", 130)
    if state.name == "running":
        return fail(f"run {run.key} is being trained by another process, {describe(holder(run.path) or {})}")
    return fail(f"failed ({state.failure}): {state.error}\nThe traceback is in {run.path / 'traceback.txt'}")


def _told(run: Run) -> str:
    result = run.result() or {}
    metrics, chosen, cost = result["metrics"], result["selection"], result["cost"]
    return (
        f"run {run.key}: test top-1 {metrics['test_top1']:.2f} %, top-5 {metrics['test_top5']:.2f} % at "
        f"epoch {chosen['epoch']} of {chosen['epochs']} ({chosen['rule']}); {cost['params']:,} parameters, "
        f"{cost['macs'] / 1e6:.1f} M MACs, trained in {cost['train_seconds']:.0f} s\n{run.path}"
    )


def _sweep(words: list[str], flags: list[str]) -> int:
    parsed = parse(words)
    verify(parsed, sweeping=True)
    spelled = [word.spelled for word in parsed]
    try:
        with initialize_config_dir(str(conf_dir()), job_name="cbam_ablate", version_base="1.3"):
            found = GlobalHydra.instance().hydra.multirun(  # type: ignore[union-attr]
                "config", task, [*spelled, *search_path()], with_log_configuration=False
            )
    except (HydraException, OmegaConfBaseException) as error:
        raise plain_error(error) from error
    from cbam_ablate.cli.show import close, show
    from cbam_ablate.sweep.run import Outcome

    return close(found, [*flags, *words]) if isinstance(found, Outcome) else show(found)


def task(cfg: DictConfig) -> None:
    """One job of a sweep, wherever a Hydra launcher runs it."""
    from cbam_ablate.sweep.job import run_cell

    run_cell(Path(cfg.manifest), cfg.key)
