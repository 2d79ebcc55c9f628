"""The body of a job on submitit: a few runs one after another, and a way out when its time is up.

Slurm warns a job of its time limit by SIGUSR2 and of preemption by SIGTERM. Either way the run at work is
saved. After a time limit or a preemption the job puts itself into the queue again, by submitit's own handler;
after `scancel` it ends.
"""

import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

from cbam_ablate.console import set_up
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep import slurm
from cbam_ablate.sweep.engine_job import train_cell
from cbam_ablate.sweep.manifest import read


class Pack:
    """Trains the runs with these keys of a frozen plan, each with `threads` CPU threads (None: torch's).

    `device` is in place of the config's own: cpu for a job that was given no GPU.
    Runs that are done, at work in another process, failed since `since` (seconds of the clock, by default
    the pack's making) or no longer of the study are passed over, so packs may share their keys.
    """

    def __init__(
        self,
        manifest: Path,
        keys: list[str],
        threads: int | None,
        since: float | None = None,
        device: str | None = None,
    ) -> None:
        self.manifest, self.keys, self.threads, self.device = manifest, keys, threads, device
        self.since = time.time() if since is None else since
        self._out_of_time = False
        self._told = False

    def __call__(self) -> None:
        if os.environ.get("SUBMITIT_EXECUTOR") == "local":
            os.setpgrp()  # Ctrl-C in the terminal is for the command, which tells its jobs.
        set_up()
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGUSR2, signal.SIGTERM)
        }
        try:
            for key in self.keys:
                if self._told:
                    break
                if self._passed_over(key):
                    continue
                state = train_cell(self.manifest, key, self.device, self.threads)
                self._told |= state.name == "interrupted"
        except KeyboardInterrupt:
            self._told = True
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._out_of_time or (self._told and slurm.preempted()):
            signal.raise_signal(signal.SIGUSR2)

    def checkpoint(self) -> Any:
        """What submitit puts into the queue again: the same runs, of which those that ended cost nothing."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Pack(self.manifest, self.keys, self.threads, self.since, self.device))

    def _passed_over(self, key: str) -> bool:
        manifest = read(self.manifest)
        if key not in manifest["runs"]:
            return True
        run = RunStore(manifest["constants"]["store"]).run(key)
        if run.state().name != "failed" or run.status().get("updated", 0) < self.since:
            return False
        # A job that Slurm started anew may have been lost with its node: that wasn't the run's fault.
        return run.state().failure != "killed" or not int(os.environ.get("SLURM_RESTART_COUNT") or 0)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._told = True
        if number == signal.SIGUSR2:
            self._out_of_time = True
            if signal.getsignal(signal.SIGTERM) != self._on_signal:
                signal.raise_signal(signal.SIGTERM)  # a run is at work, which saves on that
