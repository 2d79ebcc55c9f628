"""`hydra/launcher=ray`, over Ray's public API.

The official plugin wants a cloudpickle that joblib no longer takes, lets Ray itself try a killed task again,
and can't leave.
"""

from pathlib import Path
from typing import ClassVar

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.launchers.engine import EngineLauncher


class RayLauncher(EngineLauncher):
    """A Ray task a run, on a cluster or on a Ray of this machine started for the sweep."""

    real: ClassVar = {"num_cpus": 0.001, "num_gpus": 0, "memory_gb": 0.001}

    def __init__(
        self, address: str | None, num_cpus: float | None, num_gpus: float | None, memory_gb: float | None
    ) -> None:
        super().__init__(address=address, num_cpus=num_cpus, num_gpus=num_gpus, memory_gb=memory_gb)

    def launch(self, manifest: Path, keys: list[str]) -> None:
        import ray

        from cbam_ablate.sweep import ray_jobs, submit
        from cbam_ablate.sweep.ledger import Ledger

        new = submit.fresh(Ledger(manifest), "ray", keys)
        own = {name: self.params[name] for name in ("num_cpus", "num_gpus", "memory_gb")}
        if new:
            ray_jobs.connect(self.params["address"], self.environment)
            try:
                each = ray_jobs.share(self.device, **own)
                if self.detach:
                    ray_jobs.leave(manifest, new, each, str(Path.cwd()))
                    submit.log.info(
                        "Ray has %d runs, %g CPUs and %g GPUs each", len(new), each.num_cpus, each.num_gpus
                    )
                else:
                    ray_jobs.run_tasks(manifest, new, each, str(Path.cwd()))
            finally:
                ray.shutdown()
        if not self.detach:
            submit.wait(manifest, "ray", keys)

    def prepare(self, base: RunConfig) -> None:
        super().prepare(base)
        gpus = self.params["num_gpus"]
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ConfigError(
                f"hydra.launcher.num_gpus={gpus:g}: a part of one GPU or whole GPUs, such as 0.5 or 2"
            )
        if gpus == 0:
            self.refuse_cuda("num_gpus")
        if self.detach and self.params["address"] is None:
            raise ConfigError(
                "detach=true: a Ray that is started for the sweep ends with it; join a cluster that stays, "
                "hydra.launcher.address=auto or HOST:PORT"
            )
