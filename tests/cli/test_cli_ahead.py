"""A run's config is composed by a fork while torch is imported, and it is as if it were composed here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

two_cores = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not two_cores, reason="a fork composes on Linux, with two cores"),
]
PROGRAM = """
import os, sys, time
import cbam_ablate.sweep.outline as outline
from cbam_ablate.cli import main
here, real = os.getpid(), outline.make_outline
def make_outline(*given):
    if os.getpid() == here:
        print("made here", flush=True)
    else:
        {fork}
    return real(*given)
outline.make_outline = make_outline
main()
"""


@pytest.fixture
def begin(tmp_path, tiny):
    """Starts a run whose fork does this, in a group of its own."""

    def start(fork):
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(fork=fork), "train", *tiny, f"store={tmp_path}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
            # What a shell starts in the background ignores Ctrl-C, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


def test_a_run_composed_beside_is_the_run_composed_here(cli, tiny, without_times):
    words = ["train", *tiny, "placement=block", "reduction=2", "name=twice", "optimizer=adamw"]
    beside, here = (type(cli)(cli.store / name) for name in ("beside", "here"))
    done = beside(*words, cold=True)
    assert done.returncode == 0, done.stderr
    assert here(*words).returncode == 0
    (key,) = here.runs()
    assert list(beside.runs()) == [key]
    assert without_times(beside.history(key)) == without_times(here.history(key))
    configs = [(run.runs()[key] / "config.json").read_text() for run in (beside, here)]
    assert configs[0].replace(str(beside.store), str(here.store)) == configs[1]


def test_it_is_the_fork_that_composes(begin):
    out, err = begin("print('made beside', flush=True)").communicate(timeout=300)
    assert "made beside" in out, err
    assert "made here" not in out


def test_the_process_that_trains_does_without_hydra(cli, tiny):
    told = "import atexit, sys; atexit.register(lambda: print('hydra' in sys.modules))"
    program = [sys.executable, "-c", f"{told}; from cbam_ablate.cli import main; main()"]
    done = subprocess.run([*program, "train", *tiny, f"store={cli.store}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize("word", ["backbone=resnt", "model.depth=21", "optimizer.lr=-1"])
def test_what_the_fork_refuses_is_told_once(cli, word):
    done = cli("train", word, cold=True)
    assert done.returncode == 1
    assert done.stderr.count(word.partition("=")[0]) == done.stderr.count("\n") == 1
    assert not done.stdout
    assert not cli.store.exists()


def test_a_process_that_is_not_the_commands_alone_is_not_forked():
    program = "from cbam_ablate.cli import run; print('told', run('train', ['backbone=resnt']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "told 1\n"


def test_a_fork_that_dies_leaves_the_composing_to_the_command(begin, tmp_path):
    out, err = begin("os.kill(os.getpid(), 9)").communicate(timeout=300)
    assert "made here" in out, err
    assert len(list(Path(tmp_path, "runs").glob("*/result.json"))) == 1


def test_ctrl_c_while_the_fork_composes_ends_both(begin):
    process = begin("print(os.getpid(), flush=True); time.sleep(100)")
    fork = int(process.stdout.readline())
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.count("stopped") == err.count("\n") == 1
    assert not Path(f"/proc/{fork}").exists()


@pytest.mark.parametrize(("ignored", "code"), [(False, 130), (True, 0)])
def test_ctrl_c_that_pytorch_swallows_as_it_imports_numpy_ends_the_command(cli, tiny, ignored, code):
    """Unless Ctrl-C is ignored, as where a script has started the command in the background."""
    program = """
import os, signal, sys
from cbam_ablate.cli import main
class AsNumpyIsImported:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy.linalg":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, AsNumpyIsImported())
main()
"""
    words = ["train", *tiny, f"store={cli.store}"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("stopped") == (not ignored)
    assert bool(list(cli.store.glob("runs/*"))) == ignored
