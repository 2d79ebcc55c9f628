#!/usr/bin/env bash
# torch 2.13.0: eager training that never compiles imports the compiler. `import torch` leaves torch._dynamo and sympy
# out, but the first addition on the meta device imports both, and so does the first Optimizer that is made: what they
# call is wrapped in a "disable the compiler" that imports the compiler to be disabled.
# Guessed before the run: both stay out until torch.compile is called.
# Seen: both there after a meta addition, and torch._dynamo after torch.optim.SGD(...).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat >"$folder/run.py" <<'P'
import sys

import torch

seen = [("import torch", "sympy" in sys.modules, "torch._dynamo" in sys.modules)]
torch.empty(2, device="meta") + torch.empty(2, device="meta")
seen.append(("meta addition", "sympy" in sys.modules, "torch._dynamo" in sys.modules))
P
cat >"$folder/optimizer.py" <<'P'
import sys

import torch

before = "torch._dynamo" in sys.modules
torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1)
print(torch.__version__.partition("+")[0], "optimizer:", before, "->", "torch._dynamo" in sys.modules)
assert (before, "torch._dynamo" in sys.modules) == (False, True)
P
echo 'print(seen); assert [s[1] for s in seen] == [False, True] and [s[2] for s in seen] == [False, True]' >>"$folder/run.py"
"$folder/env/bin/python" "$folder/run.py"
"$folder/env/bin/python" "$folder/optimizer.py"
