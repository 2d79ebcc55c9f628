"""docs/own.md as a stranger types it: from a wheel, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that the package's wheel is installed in."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    install = [*pip, "install", "--no-deps", "--no-compile", "--target", str(folder / "site"), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "site"


@pytest.mark.slow
def test_every_snippet_of_the_tutorial_runs_as_it_stands(installed, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    where = "import cbam_ablate; print(cbam_ablate.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(installed))
    said = []
    for language, text in BLOCK.findall((ROOT / "docs" / "own.md").read_text()):
        name = re.search(r"^# (\S+\.(?:py|yaml))$", text, re.MULTILINE)
        if name:
            path = tmp_path / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for line in text.splitlines() if language == "sh" else ():
            words = shlex.split(line)
            program = [sys.executable, *(["-m", "cbam_ablate"] if words[0] == "cbam-ablate" else [])]
            done = subprocess.run(
                [*program, *words[1:]], env=env, cwd=tmp_path, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said.append(done.stdout)
    assert any("my_gates:Split" in text and "groups" in text for text in said)
    assert any("confidence" in text for text in said)
