"""PyTorch's compiler stays out of a process until something compiles."""

import subprocess
import sys

import pytest

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
