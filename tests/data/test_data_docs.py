"""docs/images.md as it stands: its files are written, its commands run in a folder with `pics`."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import cbam_ablate
from cbam_ablate.aggregate.classes import class_names

PAGE = Path(cbam_ablate.__file__).parents[1] / "docs" / "images.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines()]


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    draw = np.random.default_rng(0)
    for label in ("cat", "dog", "owl"):
        (folder / "pics" / label).mkdir(parents=True)
        for number in range(30):
            pixels = draw.integers(0, 256, (44, 40 + number, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pics" / label / f"p{number // 3}_{number}.png")
    for kind, block in BLOCKS:
        if kind == "python":
            (folder / block.split()[1]).write_text(block)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_works(there, command, cli, monkeypatch):
    monkeypatch.chdir(there)
    monkeypatch.setenv("XDG_CACHE_HOME", str(there / "cache"))
    program, *words = shlex.split(command)
    assert program == "cbam-ablate"
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    if words[0] == "data":
        assert re.search(r"test +\d+ images", done.stdout)


def test_tables_by_class_name_the_classes_that_were_found():
    study = SimpleNamespace(constants={"data.name": "folder", "data.classes": ["cat", "dog", "owl"]})
    assert class_names(study, 3) == ["cat", "dog", "owl"]
    assert class_names(study, 4) == ["0", "1", "2", "3"]
