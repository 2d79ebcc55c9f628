"""Where a number comes from: code, versions, machine and command."""

import hashlib
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
FOREIGN_RULE = "as the run's W&B summary has it"
AUTHORS = "chosen by the runs' authors"
"""What a result says, or begins to say, of how its values were chosen where others trained the run."""
RECORDED = ("cbam_ablate", "torch", "torchvision", "hydra-core", "omegaconf", "numpy")


def provenance() -> dict[str, Any]:
    """Commit, whether the tree had changes, hash of the package's source, versions, host and time."""
    return {
        **_code(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in RECORDED}},
        "command": command(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def is_foreign(rule: str) -> bool:
    """Whether a result's rule is that of a run which others trained."""
    return rule == FOREIGN_RULE or rule.startswith(AUTHORS)


def builders() -> dict[str, str | None]:
    """What networks are built by: the hash of the package's source, and the versions of what it uses."""
    return {"code_sha256": _source(), **{name: _version(name) for name in ("torch", "torchvision", "timm")}}


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
    return {"git_commit": commit, "git_dirty": dirty, "code_sha256": _source()}


@cache
def _source() -> str:
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


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
