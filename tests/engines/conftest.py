"""Real engines on this machine, and the 4-cell study that each of them must bring to the same table."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from cbam_ablate.sweep.ledger import Ledger

HERE = Path(__file__).parent
ENOUGH = 600
"""Seconds that no study here takes, even on a busy machine."""
CELLS = ["placement=none,block", "seed=0,1"]
OTHER = HERE.parents[1] / ".venv-hydra14" / "bin" / "python"
"""Python with Hydra 1.4 and its launchers, as tests/hydra14.sh makes it."""


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engines)


SCALE = """from torch import nn

class Scale(nn.Module):
    def forward(self, x):
        return 0.5 * x
"""


class Study:
    """A study of real trainings in a store of its own, by one launcher."""

    def __init__(self, cli, words, launcher, without_times) -> None:
        self.cli, self.launcher = cli, launcher
        self.words = ["-m", *words]
        self._without_times = without_times
        self._held: set[int] = set()

    def start(self, *more):
        return self.cli.start("train", *self.words, *self.launcher, *more)

    def run(self, *more):
        return finished(self.start(*more))

    def waiting(self) -> int:
        (manifest,) = self.cli.store.glob("studies/*/manifest.json")
        return len(Ledger(manifest).waiting()[0])

    def plan(self):
        return self.cli("plan", *self.words).stdout

    def table(self) -> bytes:
        """table.json as bytes, less times, memory and the words that name launcher and store."""
        text = next((self.cli.store / "studies").glob("*/table.json")).read_text()
        text = re.sub(r" (hydra[/.]launcher|store|detach)\S*?=[^\s\"]*", "", text)
        return json.dumps(self._without_times(json.loads(text))).encode()

    def manifest(self) -> dict:
        """What was planned, less the words that name launcher and store."""
        content = json.loads(next((self.cli.store / "studies").glob("*/manifest.json")).read_text())
        del content["command"], content["constants"]["store"]
        return content

    def hydras(self) -> set[str]:
        """The versions of Hydra that runs were trained on."""
        return {self.cli.result(key)["provenance"]["versions"]["hydra-core"] for key in self.cli.runs()}

    def done(self) -> int:
        return sum((folder / "result.json").exists() for folder in self.cli.runs().values())

    def at_work(self, saved=True) -> list[int]:
        """Processes in the middle of a run: they have `saved` an epoch, or just begun, and not ended."""
        found = []
        for folder in self.cli.runs().values():
            claims = sorted((folder / "claims").glob("[0-9]*.json"))
            begun = (folder / "checkpoints/last.pt").exists() or not saved
            if claims and begun and not (folder / "result.json").exists():
                claim = json.loads(claims[-1].read_text())
                found += [] if claim.get("released") else [claim["pid"]]
        return found

    def stop_one_half_way(self, after=1, saved=True) -> int:
        """Stops a worker by SIGSTOP in the middle of a run, which can't end then, once `after` runs are done.

        Gives its process.
        """
        wait_for(lambda: self.done() >= after, f"{after} runs")
        while True:
            wait_for(lambda: self._going(saved), "a run at work")
            for process in self._going(saved):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGSTOP)
                    if process in self.at_work(saved):
                        return process
                    os.kill(process, signal.SIGCONT)

    def _going(self, saved) -> set[int]:
        return set(self.at_work(saved)) - self._held

    @contextlib.contextmanager
    def one_held(self, saved=True):
        """In `with`, one run more is at work that can't end, however fast the machine."""
        worker = self.stop_one_half_way(after=0, saved=saved)
        self._held.add(worker)
        try:
            yield
        finally:
            self._held.remove(worker)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)

    def kill_one_half_way(self) -> None:
        """Kills a worker by SIGKILL, in the middle of a run."""
        os.kill(self.stop_one_half_way(), signal.SIGKILL)

    def resumed(self) -> int:
        logs = [(folder / "train.log").read_text() for folder in self.cli.runs().values()]
        return sum("goes on from its own last.pt" in log for log in logs)


def finished(process):
    """Waits for a command; returns its exit code and output."""
    out, err = process.communicate(timeout=ENOUGH)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for(ready, what, seconds=ENOUGH):
    """Waits until `ready()`, with a limit that only a broken engine reaches."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@pytest.fixture
def end():
    return finished


@pytest.fixture
def until():
    return wait_for


@pytest.fixture
def study(cli, tiny, without_times):
    """Makes the study for a launcher's words; `epochs` makes its runs longer."""

    def make(*launcher, store=None, epochs=6, cells=CELLS):
        own = type(cli)(store) if store else cli
        words = [*tiny, f"train.epochs={epochs}", "train.batch_size=16", *cells]
        return Study(own, words, launcher, without_times)

    return make


@pytest.fixture
def own_module(cli, tiny, tmp_path, monkeypatch):
    """Sweeps a module that only the working folder has, by a launcher's words."""

    def sweep(*launcher):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "my_gate.py").write_text(SCALE)
        words = [*tiny, "train.epochs=1", "placement=block", "attention=my_gate:Scale", "seed=0,1"]
        done = cli("train", "-m", *words, *launcher)
        assert done.returncode == 0, done.stderr
        assert [(folder / "result.json").exists() for folder in cli.runs().values()] == [True, True]

    return sweep


@pytest.fixture
def reference(study, tmp_path_factory) -> bytes:
    """The table that the default launcher makes, once for all tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    local = study(store=folder / "reference")
    with FileLock(folder / "reference.lock"):
        if not (folder / "reference").exists():
            done = local.run()
            assert done.returncode == 0, done.stderr
    return local.table()


@pytest.fixture
def same_on_hydra_14(study, tmp_path):
    """Trains two cells there by a launcher's words; what comes of it must be as of those trained here."""
    if not OTHER.exists():
        pytest.skip("no Hydra 1.4 here: tests/hydra14.sh make")

    def run(*launcher):
        made = []
        for version, words in (("1.3", ["hydra.launcher.jobs=0"]), ("1.4", launcher)):
            two = study(*words, store=tmp_path / version, epochs=1, cells=["placement=none,block"])
            two.cli.python = str(OTHER) if version == "1.4" else two.cli.python
            done = two.run()
            assert done.returncode == 0, done.stderr
            assert {told[:3] for told in two.hydras()} == {version}
            made.append((two.cli.runs().keys(), two.manifest(), two.table()))
        assert made[0] == made[1]

    return run


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory):
    """A one-node Slurm of this machine, in the environment of the tests."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no Slurm here ({', '.join(missing)} missing): apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("starting Slurm needs root")
    folder = tmp_path_factory.mktemp("slurm")
    yield from _cluster(HERE / "slurm_cluster.sh", folder, lambda said: {"SLURM_CONF": said})


@pytest.fixture(scope="session")
def ray_cluster():
    """A two-node Ray cluster of local processes; gives its address."""
    program = Path(sys.executable).with_name("ray")
    if not program.exists():
        pytest.skip("no Ray here: pip install 'cbam_ablate[ray]'")
    os.environ["RAY"] = str(program)
    folder = Path(f"/tmp/cbam-ray-{os.getpid()}")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    # Of nice 15 by default: other work on the machine would leave its tasks nothing.
    nice = {"RAY_worker_niceness": "0"}
    try:
        yield from _cluster(HERE / "ray_cluster.sh", folder, lambda said: token | nice)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ray_node(ray_cluster):
    """Loses the second node (`lose`) or starts it again (`join`)."""
    folder = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).parent
    return lambda command: subprocess.run([HERE / "ray_cluster.sh", command, folder], check=True, timeout=300)


@pytest.fixture
def slurm_node(slurm_cluster):
    """Loses the node (`lose`) or starts it again (`join`)."""
    folder = Path(slurm_cluster).parent
    return lambda command: subprocess.run(
        [HERE / "slurm_cluster.sh", command, folder], check=True, timeout=300
    )


def _cluster(script, folder, environment):
    try:
        said = subprocess.run(
            [script, "start", folder], stdout=subprocess.PIPE, text=True, check=True, timeout=300
        ).stdout.strip()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(said).items():
                patch.setenv(name, value)
            yield said
    finally:
        subprocess.run([script, "stop", folder], timeout=60)
