"""Commands and snippets of the documentation do what they say, as far as it goes without training."""

import csv
import re
import shlex
import shutil
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

import cbam_ablate
from cbam_ablate.aggregate.declared import Declared, table_problems
from cbam_ablate.aggregate.options import read_options
from cbam_ablate.cli import COMMANDS
from cbam_ablate.config import load_config
from cbam_ablate.config.canonical import flatten, from_dict
from cbam_ablate.config.options import ALIASES
from cbam_ablate.models import build_model
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep import outline
from cbam_ablate.sweep.declare import expand
from cbam_ablate.torchvision_shim import import_torchvision

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"own", "images"}
"""Pages whose snippets train in tests of their own."""
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.stem not in ELSEWHERE),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(cbam-ablate [^`]+)`")
OPTION = re.compile(r"`(\w+: [^`]+)`")
FILE = re.compile(r"# ([\w/]+\.(?:py|yaml))\n")
KEPT = ROOT / "results" / "placement_resnet20" / "runs" / "82e29a771b147607"
AXES = {"placement": "none,block,class", "depth": "18", "reduction": "4,16", "kernel": "7", "seed": "0"}
"""What a `table` section on its own is for."""


class Read(Exception):
    """A command has read its arguments."""


@pytest.fixture
def place(tmp_path, monkeypatch, stand_in_class):
    """A folder to work in, with two studies, an imported one and a run with a checkpoint."""
    import_torchvision()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for study in ("placement", "quick"):
        stand_in_class(tmp_path / "outputs", study).build(
            {"model.attention.placement": ["none", "block"], "seed": [0, 1, 2]},
            lambda axes: 90.0 + axes["seed"] / 10,
        )
    rows = [[method, seed, 0.9 + seed / 100] for method in ("none", "se") for seed in range(3)]
    for name, metric in (("results.csv", "acc"), ("gates.csv", "val_acc")):
        with Path(name).open("w", newline="") as file:
            csv.writer(file).writerows([["method", "seed", metric], *rows])
    assert import_module("cbam_ablate.cli.import_").main(["gates.csv", "study=gates", "metric=val_acc"]) == 0
    run = RunStore("outputs").run(KEPT.name)
    run.best.parent.mkdir(parents=True)
    shutil.copy(KEPT / "config.json", run.path)
    network = build_model(from_dict(run.config()))
    torch.save({"model": network.state_dict()}, run.best)
    monkeypatch.setattr(cbam_ablate, "run_study", two_cells, raising=False)
    for command in COMMANDS:
        name = f"cbam_ablate.cli.{command}{'_' * (command == 'import')}"
        module = import_module(name)
        if hasattr(module, "read_arguments"):
            monkeypatch.setattr(module, "read_arguments", reader(module.read_arguments))
    return tmp_path


def reader(read):
    def stop(*arguments):
        read(*arguments)
        raise Read

    return stop


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_snippet_of_a_page_works(page, place, capsys):
    text, space = page.read_text(), {}
    for kind, source in BLOCK.findall(text):
        file = FILE.match(source)
        if file:
            write(file[1], source)
        if kind == "python":
            exec(compile(source, page.name, "exec"), space)
        elif kind == "yaml" and not file:
            study(source)
        elif kind == "sh":
            for line in source.splitlines():
                check(shlex.split(line, comments=True))
        else:
            assert file or kind in ("text", "tex"), f"{page.name}: a block of what? {source[:60]}"
    for line in SPAN.findall(text):
        check(shlex.split(line))


def test_every_table_option_that_is_shown_is_one():
    shown = OPTION.findall((ROOT / "docs" / "paper_table.md").read_text())
    assert len(shown) > 15
    axes = {ALIASES.get(name, name): text.split(",") for name, text in AXES.items()}
    declared = Declared(axes, flatten(load_config(["placement=block"])))
    for option in shown:
        table, odd = read_options(yaml.safe_load(option))
        assert [*odd, *table_problems(table, declared, {})] == [], option


def ends(declaration):
    cells = expand(declaration)
    for name, tokens in ((name, tokens) for grid in declaration.grids for name, tokens in grid.items()):
        declaration.replaced.setdefault(name, []).extend(token.values[0] for token in tokens)
    return cells[:: max(1, len(cells) - 1)]


def two_cells(words, sweep=True):
    """Plans the first and the last cell of a sweep: each takes a composition."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outline, "expand", ends)
        return outline.make_outline(words, sweep)


OWN = ("mine", "ours", "ping", "my_")
"""What only some pages declare."""
planned = set()


def once(words, sweep):
    """Plans a line that several pages show once."""
    if words not in planned:
        two_cells(words, sweep)
    if not any(own in word for own in OWN for word in words):
        planned.add(words)


def write(name, source):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(source)


def study(source):
    """Declares `study=mine`: a whole file, or a part of one."""
    content = yaml.safe_load(source)
    if "hydra" not in content:
        content["hydra"] = {"sweeper": {"params": AXES}}
    body = source if "@package" in source else f"# @package _global_\n{yaml.safe_dump(content)}"
    write("conf/study/mine.yaml", body)
    outline.make_outline(["study=mine"])


def check(words):
    """A line of a shell: our commands up to where they have read their arguments, of others what is there."""
    if words[:1] == ["cbam-ablate"] and words[1:] != ["COMMAND"]:
        ours(words[1], words[2:])
    elif words[:1] == ["make"]:
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*)\]", words[2])))) <= {*extras}
    elif words[:1] == ["python"] and words[1].endswith(".py"):
        assert (ROOT / words[1]).exists()


def ours(command, arguments):
    assert command in COMMANDS
    planned_only = {"plan": "where=true", "table": "of=plan"}.get(command)
    if command in ("train", "plan") or planned_only in arguments:
        flags = {word for word in arguments if word.startswith("-")}
        words = [word.replace("=NAME", "=placement") for word in arguments if not word.startswith("-")]
        words = [word for word in words if word != planned_only]
        assert flags <= {"-m", "--cfg"}
        if words != ["job"]:
            once(tuple(words), bool(flags) or any(word.startswith("study=") for word in words))
        return
    if command == "data" or any(word.startswith("weights=") for word in arguments):
        load_config([word for word in arguments if not word.startswith(("weights=", "part="))])
        return
    module = import_module(f"cbam_ablate.cli.{command}{'_' * (command == 'import')}")
    if not arguments or arguments == ["--help"]:
        assert module.__doc__
    elif hasattr(module, "read_arguments"):
        with pytest.raises(Read):
            module.main(arguments)
    else:
        assert module.main(arguments) == 0
