"""`hydra/launcher=submitit_slurm` and `submitit_local`, over submitit's public API.

They have the official plugin's names and parameters. The official one waits by `sacct` for a job that was
killed, which never ends on a cluster without accounting; it can't leave, pack several runs in a job or bound
those on one machine.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any, ClassVar

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.sweep.launchers.engine import EngineLauncher

OURS = ("pack", "array_parallelism", "timeout_min", "max_num_timeout", "mem_gb")


class SlurmLauncher(EngineLauncher):
    """Job arrays on Slurm: `pack` runs a job, `array_parallelism` jobs at a time."""

    whole: ClassVar = {
        "pack": 1, "array_parallelism": 1, "timeout_min": 1, "max_num_timeout": 0, "signal_delay_s": 1,
        "cpus_per_task": 1, "gpus_per_node": 0, "nodes": 1,
    }  # fmt: skip
    real: ClassVar = {"mem_gb": 0.001}
    needed = ("pack", "array_parallelism", "max_num_timeout", "signal_delay_s")

    def launch(self, manifest: Path, keys: list[str]) -> None:
        from cbam_ablate.sweep import submit
        from cbam_ablate.sweep.ledger import Ledger

        new = submit.fresh(Ledger(manifest), "slurm", keys)
        if new:
            try:
                self._queue(manifest, new)
            except UserError as error:
                if len(new) == len(keys):
                    raise
                submit.log.warning("%s; waiting for those that are queued", error)
        if self.detach:
            return
        try:
            submit.explain_endings(manifest, submit.wait(manifest, "slurm", keys))
        except KeyboardInterrupt:
            submit.log.info(
                "The jobs stay with Slurm: the same command waits for them again, scancel ends them."
            )
            raise

    def _queue(self, manifest: Path, keys: list[str]) -> None:
        from cbam_ablate.runs import RunStore
        from cbam_ablate.sweep import slurm, submit
        from cbam_ablate.sweep.manifest import read
        from cbam_ablate.sweep.pack import Pack

        given = {name: value for name, value in self.params.items() if name not in OURS and value is not None}
        gpus = self.params["gpus_per_node"]
        if gpus is None and self.params["gres"]:
            gpus = 0
        elif gpus is None:
            asked = self.device.startswith("cuda")
            gpus = int(asked or (self.device == "auto" and slurm.has_gpus(self.params["partition"])))
        usual = submit.CPUS_BESIDE_A_GPU if gpus or self.params["gres"] else 1
        cpus = self.params["cpus_per_task"] or usual
        given |= {"cpus_per_task": cpus, "max_num_timeout": self.params["max_num_timeout"]}
        if gpus:
            given["gpus_per_node"] = gpus
        if self.params["mem_gb"] is not None:
            given["mem"] = f"{int(1024 * self.params['mem_gb'])}MB"
        given["additional_parameters"] = {"requeue": True, **given.get("additional_parameters", {})}
        size, store = self.params["pack"], RunStore(read(manifest)["constants"]["store"])
        # A run that failed may take its job down again, so it has one of its own.
        failed = [key for key in keys if store.run(key).state().name == "failed"]
        others = [key for key in keys if key not in failed]
        parts = [others[start : start + size] for start in range(0, len(others), size)]
        device = None if gpus or self.params["gres"] else "cpu"
        packs = [Pack(manifest, part, cpus, device=device) for part in [*parts, *([key] for key in failed)]]
        limit = self.params["timeout_min"]
        if limit is None:
            limit = max(submit.minutes(pack.keys, self.guesses) for pack in packs)
            limit = min(limit, slurm.most_minutes(self.params["partition"]) or limit)
        submit.submit_slurm(manifest, packs, limit, self.params["array_parallelism"], given)

    def prepare(self, base: RunConfig) -> None:
        import shutil

        super().prepare(base)
        limit, delay = self.params["timeout_min"], self.params["signal_delay_s"]
        if limit is not None and delay >= 60 * limit:
            raise ConfigError(
                f"hydra.launcher.signal_delay_s={delay}: less than the time limit, "
                f"hydra.launcher.timeout_min={limit}, which is {60 * limit} s"
            )
        if self.params["gpus_per_node"] == 0 and not self.params["gres"]:
            self.refuse_cuda("gpus_per_node")
        if shutil.which("sbatch") is None:
            raise ConfigError(
                "hydra/launcher=submitit_slurm: there is no sbatch here; run this where jobs are submitted "
                "to Slurm, or choose local, joblib, submitit_local or ray"
            )


class LocalSubmititLauncher(EngineLauncher):
    """Processes of this machine that outlive the sweep's own, `jobs` at a time."""

    whole: ClassVar = {"jobs": 1}
    alone = True

    def __init__(self, jobs: int | None) -> None:
        super().__init__(jobs=jobs)

    def launch(self, manifest: Path, keys: list[str]) -> None:
        from cbam_ablate.sweep import submit
        from cbam_ablate.sweep.ledger import Ledger
        from cbam_ablate.sweep.slots import make_slots

        new = submit.fresh(Ledger(manifest), "local", keys)
        jobs: list[Any] = []
        if new:
            jobs = submit.submit_local(manifest, new, make_slots(self.device, self.params["jobs"]))
        if self.detach:
            submit.log.info("%d processes have %d runs", len(jobs), len(new))
            return
        try:
            submit.wait(manifest, "local", keys)
        except KeyboardInterrupt:
            for job in jobs:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(job.job_id), signal.SIGTERM)
            if jobs:
                submit.wait(manifest, "local", keys)
            else:
                submit.log.info("The jobs go on: the same command waits for them again.")
            raise
