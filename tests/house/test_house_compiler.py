"""PyTorch's compiler stays out of a process until something compiles."""

import subprocess
import sys

import pytest

from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import make_plan

CODE = """
import sys
from cbam_ablate.lazy_compiler import leave_out_compiler
leave_out_compiler()
import torch

def trained(step):
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    for _ in range(3):
        step(network, optimizer)
    return network.weight.detach()

def plain(network, optimizer):
    network(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()

weights = trained(plain)
(torch.empty(2, device="meta") + 1).relu()
print("torch._dynamo" in sys.modules)
compiled = torch.compile(plain, backend="eager")
print(torch.equal(weights, trained(compiled)), "torch._dynamo" in sys.modules)
print(torch.equal(weights, trained(plain)), torch.is_grad_enabled())
"""


@pytest.mark.slow
def test_training_that_does_not_compile_leaves_the_compiler_out_and_one_that_does_is_the_same():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "True", "True", "True"], done.stderr


JOBS = {
    "submitit": "from cbam_ablate.sweep.pack import Pack; Pack(manifest, [key], 1)()",
    "Ray": "from cbam_ablate.sweep.ray_jobs import _run; _run(manifest, key, '.', 'cpu', 1)",
    "a plugin": "from cbam_ablate.sweep.launchers.foreign import train_job; train_job(job)",
}
JOB = """
import sys
from pathlib import Path
from types import SimpleNamespace
manifest, key = Path(sys.argv[1]), sys.argv[2]
job = SimpleNamespace(manifest=manifest, key=key)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", JOBS)
def test_so_it_does_in_the_jobs_of_every_engine(engine, tiny, tmp_path):
    if engine == "Ray":
        pytest.importorskip("ray")
    plan = make_plan([*tiny, "train.epochs=1", "seed=0,1", f"store={tmp_path}"])
    manifest, key = freeze(plan, ["cbam-ablate"]), next(iter(plan.runs))
    code = f"{JOB}{JOBS[engine]}\nprint('torch' in sys.modules, 'torch._dynamo' in sys.modules)"
    words = [sys.executable, "-W", "ignore", "-c", code, str(manifest), key]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["True", "False"], done.stderr
    assert (tmp_path / "runs" / key / "result.json").exists()
