"""Signals that a run, or a sweep with its jobs, is told to stop by."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cbam_ablate.sweep.stop import OneSignal, Stop


@pytest.fixture
def stop(monkeypatch):
    monkeypatch.setattr(OneSignal, "WITHIN", 0.05)
    with Stop() as stop:
        stop.armed = True
        yield stop


def test_sigterm_twice_at_once_is_one_request(stop):
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert stop()


def test_a_second_signal_later_ends_a_run_that_is_saving(stop):
    signal.raise_signal(signal.SIGTERM)
    time.sleep(0.1)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_to_a_run_that_stops_by_itself_ends_nothing(stop):
    stop.asked = True
    signal.raise_signal(signal.SIGTERM)
    assert stop()


def test_outside_training_a_signal_ends_the_run(stop):
    stop.armed = False
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


STOPPED = """import os, signal, sys, threading, time
from cbam_ablate.sweep.stop import Stop

again = threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGTERM))
with Stop() as stop:
    stop.armed = True
    signal.raise_signal(signal.SIGTERM)
    again.start()
again.join()
time.sleep(0.1)
"""


@pytest.mark.parametrize(("seconds", "code"), [(0.3, 0), (1.3, -signal.SIGTERM)])
def test_sigterm_again_after_the_run_has_saved_ends_the_process_if_it_is_another_request(seconds, code):
    done = subprocess.run([sys.executable, "-c", STOPPED, str(seconds)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")


SLEEPS = """import time
from torch.nn.functional import cross_entropy

def late(logits, labels):
    time.sleep(1.5)
    return cross_entropy(logits, labels)
"""


@pytest.mark.slow
def test_a_signal_to_a_sweep_and_at_once_to_its_group_ends_its_jobs_first(tiny, tmp_path):
    """As `timeout` sends it. Not a fork of the tests' server, whose group is another."""
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    words = ["loss=sleeps:late", "seed=0,1", "hydra.launcher.jobs=2", "store=store"]
    command = [sys.executable, "-m", "cbam_ablate", "train", "-m", *tiny, *words]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    sweep = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **output)
    ends = time.monotonic() + 300
    while len(list(tmp_path.glob("store/runs/*/history.jsonl"))) < 2:
        assert sweep.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.05)
    sweep.terminate()
    os.killpg(sweep.pid, signal.SIGTERM)
    told = sweep.communicate(timeout=300)[0]
    assert sweep.returncode == 130, told
    rows = json.loads(next(tmp_path.glob("store/studies/*/table.json")).read_text())["rows"]
    assert [row["missing"] for row in rows] == [{"interrupted": 2}]
