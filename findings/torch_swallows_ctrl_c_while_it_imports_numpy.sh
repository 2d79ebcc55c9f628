#!/usr/bin/env bash
# torch 2.13.0 with numpy 2.4.6: a Ctrl-C that comes while `import torch` imports NumPy is lost. The interrupt is raised
# inside NumPy's import, which PyTorch's own start makes from C++ and whose failure it drops, whatever it was: the
# import of torch goes on to its end without a warning, and NumPy is imported anew by the first tensor that needs it.
# Guessed before the run: KeyboardInterrupt comes out of `import torch`, as it does when numpy is imported by itself.
# Seen: it comes out of `import numpy`; `import torch` ends well, and the program goes on as if nobody had pressed it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat >"$folder/run.py" <<'P'
import os
import signal
import sys
import warnings
from importlib import import_module

warnings.simplefilter("error")


class PressedAsNumpyIsImported:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy.linalg":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)


sys.meta_path.insert(0, PressedAsNumpyIsImported())
try:
    module = import_module(sys.argv[1])
    print("import", sys.argv[1], module.__version__.partition("+")[0], "went on")
except KeyboardInterrupt:
    print("import", sys.argv[1], "was interrupted")
if sys.argv[1] == "torch":
    print("to NumPy:", module.ones(2).numpy())
P
"$folder/env/bin/python" "$folder/run.py" numpy >"$folder/seen"
"$folder/env/bin/python" "$folder/run.py" torch >>"$folder/seen"
cat "$folder/seen"
diff "$folder/seen" - <<'S'
import numpy was interrupted
import torch 2.13.0 went on
to NumPy: [1. 1.]
S
