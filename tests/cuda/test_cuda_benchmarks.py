"""`make bench-gpu`: its minutes on a GPU are few, so all that it would run must be runnable."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cbam_ablate.config import load_config

pytestmark = pytest.mark.cuda
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_gpu.py"


def after(command, option):
    """The words after an option, up to the next."""
    rest = command[command.index(option) + 1 :]
    return rest[: next((number for number, word in enumerate(rest) if word.startswith("--")), len(rest))]


def test_every_network_of_every_part_is_one_that_can_be_trained():
    spec = importlib.util.spec_from_file_location("bench_gpu", SCRIPT)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    checked = 0
    for small in (True, False):
        for command in bench.parts(small).values():
            if command[0] != "bench_step.py":
                continue
            size = [f"data.train_size={after(command, '--images')[0]}", "data.val_size=500"]
            words = command[1 : command.index("--networks")]
            for network in after(command, "--networks"):
                cfg = load_config([*size, *words, *network.split()])
                assert cfg.data.train_size // cfg.train.batch_size >= 10
                checked += 1
    assert checked > 8


def test_a_small_one_measures_each_part_it_is_asked_for_and_keeps_the_others(tmp_path):
    file = tmp_path / "gpu.json"
    file.write_text('{"deep": {"rows": []}}')
    asked = ["networks", "fused, eager", "sweep"]
    done = subprocess.run(
        [sys.executable, SCRIPT, "--small", "--json", file, "--parts", *asked],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert set(found) == {"deep", *asked}
    assert [row["arm"] for row in found["networks"]["rows"]] == [
        "plain",
        "tuned",
        "ours",
        "eager",
        "compiled",
    ]
    assert all(row["rate"] > 0 for row in found["networks"]["rows"])
    assert found["fused, eager"]["steps"][0]["ratio"] > 0
    assert all(ratio > 0 for ratio in found["sweep"]["ratios"].values())
    assert found["sweep"]["device"].startswith("cuda: ")


def test_what_a_job_takes_beyond_training_is_measured_too(tmp_path):
    file = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--small", "--json", file, "--parts", "start-up"],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())["start-up"]
    (beyond,) = found["beyond training"]
    assert 0 < beyond < found["in a process of its own"]
    assert set(found["commands"]) == {"--help", "table"}
