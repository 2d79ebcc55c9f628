import subprocess
import sys

import pytest
import torch

from cbam_ablate.errors import ConfigError
from cbam_ablate.training.device import pick_device, pick_precision, sum_dtype, use
from cbam_ablate.training.evaluate import Totals

LARGE = """
import subprocess, sys
held = bytearray(2**30)
held[::4096] = bytes(len(held[::4096]))
# With something to do between fork and exec, Python copies the process rather than share its memory.
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True, preexec_fn=lambda: None)
"""
SAY = """
import torch
from cbam_ablate.training.device import peak_memory_mib
print(peak_memory_mib(torch.device("cpu")))
"""


@pytest.mark.slow
def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it():
    done = subprocess.run([sys.executable, "-c", LARGE, SAY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 50 < float(done.stdout) < 1000


def test_threads_that_one_job_asked_for_are_not_the_next_ones():
    cpu = torch.device("cpu")
    use(cpu, None)
    at_first = torch.get_num_threads()
    use(cpu, at_first + 1)
    use(cpu, None)
    assert torch.get_num_threads() == at_first


def test_auto_takes_a_macs_device_where_pytorch_has_one(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [str(pick_device(name)) for name in ("auto", "mps", "cpu")] == ["mps", "mps", "cpu"]


def test_a_macs_device_that_is_not_there_is_refused_with_what_is():
    with pytest.raises(ConfigError, match=r"train\.device=mps: this machine has cpu"):
        pick_device("mps")


def test_a_device_that_fails_at_a_bf16_convolution_trains_in_fp32():
    assert pick_precision("auto", torch.device("mps")) == "fp32"


def test_sums_over_an_epoch_without_float64_are_those_with_it(monkeypatch):
    assert sum_dtype(torch.device("mps")) == torch.float32
    draw = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(100, 10, generator=draw), torch.randint(10, (100,), generator=draw)) for _ in range(500)
    ]

    def scores():
        totals = Totals(torch.device("cpu"))
        for logits, labels in batches:
            totals.add(torch.nn.functional.cross_entropy(logits, labels), logits, labels)
        return totals.scores()

    exact = scores()
    monkeypatch.setattr("cbam_ablate.training.evaluate.sum_dtype", lambda device: torch.float32)
    assert scores() == pytest.approx(exact, rel=1e-5)
