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
def test_every_snippet_of_the_tutorial_runs_as_it_stands(installed, command_line, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)

    def python(*words):
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def program(*words):
        process = forked.start(words, dict(os.environ))
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err

    forked = type(command_line.server)()  # which has the wheel's package, as what `python` starts has
    assert python("-c", "import cbam_ablate; print(cbam_ablate.__file__)")[1].startswith(str(installed))
    said = []
    for language, text in BLOCK.findall((ROOT / "docs" / "own.md").read_text()):
        name = re.search(r"^# (\S+\.(?:py|yaml))$", text, re.MULTILINE)
        if name:
            path = tmp_path / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for line in text.splitlines() if language == "sh" else ():
            first, *words = shlex.split(line)
            code, out, err = {"python": python, "cbam-ablate": program}[first](*words)
            assert code == 0, f"{line}\n{out}\n{err}"
            said.append(out)
    assert any("my_gates:Split" in text and "groups" in text for text in said)
    assert any("confidence" in text for text in said)
