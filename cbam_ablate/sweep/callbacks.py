"""Hydra's callbacks of a sweep or a run, told of each job wherever it is trained."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from cbam_ablate.config.canonical import run_key, to_dict
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import main_config
from cbam_ablate.errors import ConfigError
from cbam_ablate.runs import RunStore

if TYPE_CHECKING:
    from hydra._internal.callbacks import Callbacks


def make_callbacks(hydra: DictConfig) -> "Callbacks":
    """The callbacks of `hydra.callbacks`. Raises `ConfigError` for what can't be made."""
    try:
        from hydra._internal.callbacks import Callbacks  # which jobs without callbacks needn't import

        with warnings.catch_warnings():
            # Hydra 1.4 warns that a config names a class to call, which is what callbacks are.
            warnings.filterwarnings("ignore", r"\s*hydra\.utils\.instantiate\(\) resolved _target_")
            return Callbacks(OmegaConf.create({"hydra": {"callbacks": hydra.callbacks or {}}}))
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(f"hydra.callbacks: can't be made: {first}") from error


@contextmanager
def told(callbacks: "Callbacks", cfg: RunConfig, number: int = 0) -> Iterator[None]:
    """Tells of the run's start and, with how it stands then, of its end.

    The config they see is the run's, its key beside it and the run's folder as `hydra.runtime.output_dir`.
    """
    if not callbacks.callbacks:
        yield
        return
    from hydra.core.utils import JobReturn, JobStatus

    key = run_key(cfg)
    run = RunStore(cfg.store).run(key)
    node = {
        "job": {"name": "cbam_ablate", "num": number, "id": key},
        "runtime": {"cwd": os.getcwd(), "output_dir": str(run.path.absolute())},
    }
    config = OmegaConf.create({**to_dict(cfg), "key": key, "hydra": node})
    callbacks.on_job_start(config=config, task_function=RunStore(cfg.store).run)
    done = JobReturn(cfg=config, hydra_cfg=config, working_dir=os.getcwd(), task_name="cbam_ablate")
    try:
        yield
    finally:
        state = run.state()
        done.status = JobStatus.COMPLETED if state.name == "finished" else JobStatus.FAILED
        failure = RuntimeError(f"{state.failure or state.name}: {state.error}")
        done.return_value = state.name if state.name == "finished" else failure
        callbacks.on_job_end(config=config, job_return=done)


@contextmanager
def told_of_single(composed: DictConfig, cfg: RunConfig) -> Iterator[None]:
    """Tells the callbacks of a command for one run of the command too. Raises as `make_callbacks` does."""
    if not composed.hydra.callbacks:
        yield
        return
    callbacks = make_callbacks(composed.hydra)
    callbacks.on_run_start(config=composed, config_name=main_config())
    with told(callbacks, cfg):
        yield
    callbacks.on_run_end(config=composed, config_name=main_config())


def told_of(manifest: Mapping[str, Any], cfgs: Sequence[RunConfig]) -> AbstractContextManager[None]:
    """Tells the callbacks of a frozen plan of these runs, once entered. Raises as `make_callbacks` does."""
    declared = manifest.get("callbacks")
    if not declared:
        return nullcontext()
    return _all_told(make_callbacks(OmegaConf.create({"callbacks": declared})), list(manifest["runs"]), cfgs)


@contextmanager
def _all_told(callbacks: "Callbacks", keys: Sequence[str], cfgs: Sequence[RunConfig]) -> Iterator[None]:
    with ExitStack() as stack:
        for cfg in cfgs:
            stack.enter_context(told(callbacks, cfg, keys.index(run_key(cfg))))
        yield
