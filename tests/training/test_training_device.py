import subprocess
import sys

import torch

from cbam_ablate.training.device import use

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
