"""Where a number comes from: code, versions, machine and command."""

import hashlib
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

ORIGIN = (
    "code_sha256", "versions", "device", "precision", "threads", "dataset_sha256", "accelerators", "fused",
)  # fmt: skip
"""What of a process's provenance could change what it computes."""
UNKNOWN = {"code_sha256": None}
"""The provenance of a process that left none."""
SOURCES = (".py", ".c", ".h", ".cpp", ".cu", ".yaml")
"""The files whose content the code's hash covers."""
PACKAGE = Path(__file__).parents[1]
FOREIGN_RULE = "as the run's W&B summary has it"
AUTHORS = "chosen by the runs' authors"
"""What a result says, or begins to say, of how its values were chosen where others trained the run."""
RECORDED = ("cbam_ablate", "torch", "torchvision", "hydra-core", "omegaconf", "numpy")


def provenance() -> dict[str, Any]:
    """What this process runs: commit, hash of the source, versions, command, host, and since when."""
    return {
        **_code(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in RECORDED}},
        "command": command(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def is_foreign(rule: str) -> bool:
    """Whether a result's rule is that of a run which others trained."""
    return rule == FOREIGN_RULE or rule.startswith(AUTHORS)


def same_origin(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two processes differ in nothing that could change what they compute."""
    return all(one.get(name) == other.get(name) for name in ORIGIN)


def command() -> list[str]:
    """The command line, the program by its bare name."""
    name = Path(sys.argv[0]).name
    return ["cbam-ablate" if name == "__main__.py" else name, *sys.argv[1:]]


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def _code() -> dict[str, Any]:
    commit = _git("rev-parse", "HEAD")
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None
    return {"git_commit": commit, "git_dirty": dirty, "code_sha256": source_hash()}


@cache
def source_hash() -> str:
    """Of every source file of the package, what is compiled and configured included."""
    digest = hashlib.sha256()
    for path in sorted(path for path in PACKAGE.rglob("*") if path.suffix in SOURCES):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def by_other_code(result: Mapping[str, Any]) -> bool:
    """Whether a run finished with another source of this package than the present one."""
    return bool(result["provenance"].get("code_sha256") != source_hash())


def _git(*words: str) -> str | None:
    """What git says of the clone this package is in; None where it is in none."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE.parent), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
