"""The rooms of the house and which of them each may know (DESIGN.md's table)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cbam_ablate

ROOT = Path(cbam_ablate.__file__).parent
MAY_IMPORT = {
    "config": set(),
    "models": {"config"},
    "data": {"config"},
    "training": {"config", "metrics"},
    "accel": {"config", "models", "training"},
    "runs": {"config"},
    "metrics": {"config", "runs"},
    "aggregate": {"runs", "config", "metrics"},
    "report": {"aggregate", "runs", "config", "metrics"},
    "sources": {"runs", "config"},
    "loggers": {"runs", "config", "report", "sources"},
    "sweep": {"config", "runs", "models", "data", "training", "accel", "loggers", "metrics", "aggregate"},
    "explain": {"models", "data", "runs", "config", "training"},
}
FOUNDATION = (
    "console", "errors", "fork", "lazy", "lazy_compiler", "lazy_docs", "on_import", "own", "part", "registry",
    "source", "torchvision_shim",
)  # fmt: skip
"""What every room may import, and what imports none."""
WITHOUT_TORCH = (
    "config", "registry", "models", "data", "training", "runs", "metrics", "sources", "aggregate", "report",
    "loggers",
)  # fmt: skip


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", [room for room in MAY_IMPORT if (ROOT / room).is_dir()])
def test_a_room_knows_only_the_rooms_before_it(room):
    known = {
        f"{path.name}: {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in imported(path)
        if name.startswith("cbam_ablate.")
        and name.split(".")[1] not in {room, *FOUNDATION} | MAY_IMPORT[room]
    }
    assert known == set()


@pytest.mark.parametrize("name", FOUNDATION)
def test_what_every_room_may_import_imports_no_room(name):
    known = {other for other in imported(ROOT / f"{name}.py") if other.startswith("cbam_ablate.")}
    assert known <= {f"cbam_ablate.{other}" for other in FOUNDATION}


def test_what_can_be_chosen_is_known_without_torch():
    code = "import sys; sys.modules['torch'] = None; from cbam_ablate.registry import Part, rows; "
    code += "print(all(rows(kind) for kind in Part.__subclasses__() if kind.table))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_a_room_imports_without_torch(room):
    code = f"import sys; sys.modules['torch'] = None; import cbam_ablate.{room}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "cbam_ablate.cli",
        "cbam_ablate.cli.plan",
        "cbam_ablate.cli.train",
        "cbam_ablate.sweep.launchers",
        "cbam_ablate.sweep.outline",
        "cbam_ablate.sweep.warm",
    ],
)
def test_start_up_does_not_import_torch(name):
    code = f"import sys, {name}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_file_is_too_long_to_read_in_one_sitting():
    folders = (ROOT, ROOT.parent / "tests", ROOT.parent / "benchmarks")
    files = [path for folder in folders for path in folder.rglob("*.py")]
    assert [path for path in files if len(path.read_text().splitlines()) > 320] == []
