"""What Slurm says of jobs and of itself, by `squeue` and `scontrol` alone: they work without accounting."""

import os
import re
import subprocess
from collections.abc import Iterable

OVER = {
    "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY",
    "PREEMPTED",
}  # fmt: skip
"""States of jobs that squeue may still list for a while although they have ended."""
ARRAY = 1000
"""Tasks in one array where Slurm doesn't say how many it takes; its own default allows one more."""


def states(jobs: Iterable[str]) -> dict[str, str] | None:
    """The state of each of these jobs that hasn't ended, by id (`12`, or `12_3` in an array).

    None where squeue is missing or its controller doesn't answer.
    """
    wanted = set(jobs)
    ids = sorted({job.partition("_")[0] for job in wanted})
    if not ids:
        return {}
    stdout = _ask("squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(ids)}")
    if stdout is None:
        return None
    listed = dict(line.split(maxsplit=1) for line in stdout.splitlines() if " " in line)
    return {job: state for job, state in listed.items() if job in wanted and state not in OVER}


def ending(job: str) -> str | None:
    """How a job ended as Slurm calls it (`TIMEOUT`, ...), while its controller remembers it."""
    return _field("JobState", _ask("scontrol", "show", "job", "--oneliner", job))


def preempted() -> bool:
    """Whether the job that this process is in is being preempted, rather than cancelled."""
    job = os.environ.get("SLURM_JOB_ID")
    stdout = _ask("scontrol", "show", "job", "--oneliner", job) if job else None
    return _field("PreemptTime", stdout) not in (None, "None")


def cancel_pending(jobs: Iterable[str]) -> None:
    """Takes those of the jobs that haven't started out of the queue."""
    ids = sorted({job.partition("_")[0] for job in jobs})
    if ids:
        _ask("scancel", "--quiet", "--state=PENDING", *ids)


def max_array() -> int:
    """How many tasks one array may have."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config") or "")
    return max(1, int(found[1]) - 1) if found else ARRAY


def most_minutes(partition: str | None) -> int | None:
    """The longest time limit of the partition, or of the default one; None where there is none."""
    stdout = _ask("sinfo", "--noheader", "--format=%P %l", *_in(partition))
    lines = [line.split() for line in (stdout or "").splitlines() if len(line.split()) == 2]
    limits = [_minutes(limit) for name, limit in lines if partition or name.endswith("*")]
    return min((limit for limit in limits if limit is not None), default=None)


def _minutes(text: str) -> int | None:
    """Slurm's `days-hours:minutes:seconds`, less what doesn't count, in whole minutes; None for infinite."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (24 * days + hours) * 60 + minutes


def has_gpus(partition: str | None) -> bool:
    """Whether a node of the partition, or of the default one, has GPUs as Slurm counts them."""
    stdout = _ask("sinfo", "--noheader", "--format=%P %G", *_in(partition))
    lines = [line for line in (stdout or "").splitlines() if partition or line.split(" ")[0].endswith("*")]
    return any("gpu" in line.partition(" ")[2] for line in lines)


def _in(partition: str | None) -> list[str]:
    return [f"--partition={partition}"] if partition else []


def _field(name: str, text: str | None) -> str | None:
    found = re.search(rf"\b{name}=(\S+)", text or "")
    return found[1] if found else None


def _ask(*command: str) -> str | None:
    """What a command of Slurm's prints; empty for a job it has forgotten, None where it doesn't answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return done.stdout
    return "" if "Invalid job id" in done.stderr else None
