"""`cbam-ablate explain` on tiny trained runs."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from cbam_ablate.cli import run
from cbam_ablate.cli.explain import _labels
from cbam_ablate.config.canonical import from_dict
from cbam_ablate.data import make_feed
from cbam_ablate.explain.compare import compare
from cbam_ablate.models import build_model
from cbam_ablate.runs import RunStore
from cbam_ablate.training import checkpoint
from tests.composed import composed
from tests.tiny import SMALL


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A run without attention and one with CBAM in each block."""
    root = tmp_path_factory.mktemp("explained")
    words = [*SMALL, "train.epochs=1", "placement=none,block", f"store={root}", "hydra.launcher.jobs=0"]
    assert run("train", ["-m", *words]) == 0
    return root


@pytest.fixture(scope="module")
def keys(store):
    """Run keys by placement."""
    runs = RunStore(store).runs()
    return {one.config()["model"]["attention"]["placement"]: one.key for one in runs}


def explained(store, out, *words):
    assert run("explain", [f"store={store}", f"out={out}", "train.device=cpu", *words]) == 0
    return json.loads((out / "explain.json").read_text())


@pytest.mark.slow
def test_the_table_shows_what_the_file_holds(store, keys, tmp_path, capsys):
    record = explained(store, tmp_path, f"run={keys['none']},{keys['block']}", "images=2", "n=20")
    out = capsys.readouterr().out
    assert [one["run"] for one in record["runs"]] == [keys["none"], keys["block"]]
    for one in record["runs"]:
        drop, rise = one["average_drop"], one["increase_in_confidence"]
        assert drop["low"] <= drop["value"] <= drop["high"]
        assert rise["low"] <= rise["value"] <= rise["high"]
        line = next(line for line in out.splitlines() if line.startswith(one["run"][:8]))
        assert f"{drop['value']:.1f} [{drop['low']:.1f}, {drop['high']:.1f}]" in line
        assert f"{rise['value']:.1f} [{rise['low']:.1f}, {rise['high']:.1f}]" in line


@pytest.mark.slow
def test_the_command_ends_well_in_a_process_of_its_own_with_two_threads(store, keys, tmp_path):
    words = [f"run={keys['none']},{keys['block']}", "images=2", "n=8", f"store={store}", f"out={tmp_path}"]
    env = os.environ | {"OMP_NUM_THREADS": "2"}
    line = [sys.executable, "-m", "cbam_ablate", "explain", *words]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "explain.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_figure_has_a_column_more_for_a_run_with_a_spatial_gate(store, keys, tmp_path):
    widths = []
    for name in ("none", "block"):
        explained(store, tmp_path / name, f"run={keys[name][:6]}", "images=3,17", "n=2")
        with Image.open(tmp_path / name / "explain.png") as figure:
            widths.append(figure.width)
            assert np.asarray(figure.convert("RGB")).std() > 20
    assert widths[1] == pytest.approx(widths[0] * 3 / 2, rel=0.05)


@pytest.mark.slow
def test_chosen_images_are_shown_and_drawn_ones_depend_on_the_seed_alone(store, keys, tmp_path):
    words = f"run={keys['none']}", "n=10"
    assert explained(store, tmp_path, *words, "images=7,3")["shown"] == [7, 3]
    assert explained(store, tmp_path, *words, "images=7,")["shown"] == [7]
    first = explained(store, tmp_path, *words, "images=2")
    assert explained(store, tmp_path, *words, "images=2") == first
    other = explained(store, tmp_path, *words, "images=2", "seed=1")
    assert other["shown"] != first["shown"]
    assert other["runs"] != first["runs"]


def test_what_is_explained_is_what_evaluate_sees(store, keys):
    """The stored weights, on test images in their order, normalised as in training."""
    stored = RunStore(store).find(keys["block"])
    cfg = from_dict(stored.config())
    model = build_model(cfg).eval()
    checkpoint.load_weights(model, checkpoint.load(stored.best), str(stored.best))
    batches = make_feed(cfg, torch.device("cpu"), "fp32").evaluate("test")
    with torch.inference_mode():
        expected = torch.cat([model(images).softmax(1).max(1).values for images, _ in batches])
    found = compare([cfg], [stored], images=range(200), n=2, seed=0)
    assert found.runs[0].maps.confidence.std() > 1e-3
    np.testing.assert_allclose(found.runs[0].maps.confidence, expected, rtol=1e-4)
    right = 100 * (found.runs[0].maps.predicted == found.shown.labels).mean()
    assert right == stored.result()["metrics"]["test_top1"]


def test_runs_on_different_data_are_not_compared(store, keys, tmp_path, capsys):
    folder = tmp_path / "runs"
    shutil.copytree(store / "runs", folder)
    path = folder / keys["block"] / "config.json"
    config = json.loads(path.read_text())
    config["data"]["name"] = "cifar10"
    path.write_text(json.dumps(config))
    assert run("explain", [f"run={keys['none']},{keys['block']}", f"store={tmp_path}"]) == 1
    said = capsys.readouterr().err
    assert "one data set" in said
    assert "cifar10" in said
    assert "synthetic" in said


@pytest.fixture
def two_sets(tmp_path):
    """Runs on two files of images, which differ in content alone."""
    draw = np.random.default_rng(0)
    words = [
        "data=npz",
        "data.size=16",
        "data.classes=[cat,dog]",
        "backbone=resnet_cifar",
        "depth=8",
        "model.width=4",
    ]
    words += ["train.epochs=1", "train.batch_size=8", "train.threads=1", "train.device=cpu"]
    for name in ("one", "two"):
        path = tmp_path / f"{name}.npz"
        np.savez(path, images=draw.integers(0, 256, (60, 16, 16, 3), np.uint8), labels=np.arange(60) % 2)
        assert run("train", [*words, f"data.root={path}", f"store={tmp_path}"]) == 0
    return sorted(one.key for one in RunStore(tmp_path).runs())


def test_runs_on_two_files_of_images_are_not_compared(two_sets, tmp_path, capsys):
    assert run("explain", [f"run={','.join(two_sets)}", "images=1", "n=2", f"store={tmp_path}"]) == 1
    assert "same test images" in capsys.readouterr().err


def test_ones_own_classes_are_called_by_their_names(two_sets, tmp_path):
    store = RunStore(tmp_path)
    stored = store.run(two_sets[0])
    found = compare([from_dict(stored.config())], [stored], images=1, n=2, seed=0)
    assert found.shown.names == ["cat", "dog"]


@pytest.mark.slow
def test_a_study_is_explained_by_a_network_of_each_row_under_the_rows_labels(store, keys, tmp_path):
    (study,) = [path.parent.name for path in store.glob("studies/*/manifest.json")]
    record = explained(store, tmp_path, f"study={study}", "images=2", "n=2")
    assert [one["network"] for one in record["runs"]] == ["none, seed 0", "block, seed 0"]
    assert [one["run"] for one in record["runs"]] == [keys["none"], keys["block"]]
    drawn = (tmp_path / "explain.pdf").read_bytes()
    assert b"/Type3" not in drawn
    assert b"/TrueType" in drawn or b"/CIDFontType2" in drawn


def test_runs_are_called_by_what_differs_between_them(tmp_path):
    configs = [composed(["placement=block", f"reduction={reduction}", "depth=18"]) for reduction in (4, 8)]
    runs = [RunStore(tmp_path).run(letter * 16) for letter in "ab"]
    labels = [label.split("\n") for label in _labels(configs, runs)]
    apart = [["cbam block, seed 0", f"reduction {n}"] for n in (4, 8)]
    assert [label[1:] for label in labels] == [[*words, "new"] for words in apart], "none is finished"
    assert [label.split("\n")[-1] for label in _labels([configs[0]] * 2, runs)] == [8 * "a", 8 * "b"]


LINES = {
    "explain": "which runs",
    "explain run=x study=y": "which runs",
    "explain study=y": "no such study",
    "explain run=0123": "no run's key starts so",
    "explain run=x images=0": "1 to 64",
    "explain run=x images=x": "images=x",
    "explain run=x images=,": "1 to 64",
    "explain run=x images=65": "1 to 64",
    "explain run=x n=1": "at least 2",
    "explain run=x seed=-1": "seed=-1",
    "explain run=x image=3": "images",
}


@pytest.mark.parametrize("line", LINES)
def test_a_bad_line_gets_one_clear_error(line, tmp_path, capsys):
    command, *words = line.split()
    assert run(command, [*words, f"store={tmp_path}"]) == 1
    said = capsys.readouterr().err
    assert LINES[line] in said
    assert "Traceback" not in said


def test_an_image_beyond_the_test_set_is_refused(store, keys, tmp_path, capsys):
    assert run("explain", [f"run={keys['none']}", "images=3,200", f"store={store}"]) == 1
    assert "images 0 to 199" in capsys.readouterr().err
