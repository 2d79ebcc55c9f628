#!/usr/bin/env bash
# OmegaConf 2.4.1rc1: a whole number for an option that is declared a float is converted quietly by merge and update, but
# assigned (`config.lr = 1`) it warns that the conversion is deprecated, and is converted all the same. A program whose
# warnings are errors stops on the one way and not on the others.
# Guessed before the run: all three warn in 2.4, since a typed option takes the value in each.
# Seen: 2.3.1 says nothing; 2.4.1rc1 gives a FutureWarning for the assignment alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/run.py" <<'P'
import warnings
from dataclasses import dataclass

import omegaconf
from omegaconf import OmegaConf


@dataclass
class Options:
    lr: float = 0.5


ways = {
    "merge": lambda made: OmegaConf.merge(made, {"lr": 1}),
    "update": lambda made: OmegaConf.update(made, "lr", 1) or made,
    "assignment": lambda made: setattr(made, "lr", 1) or made,
}
warned = []
for name, way in ways.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = way(OmegaConf.structured(Options))
    assert isinstance(made.lr, float) and made.lr == 1
    warned += [(name, warning.category.__name__) for warning in caught]
print(omegaconf.__version__, warned)
new = omegaconf.__version__.startswith("2.4")
assert warned == ([("assignment", "FutureWarning")] if new else []), warned
P
for package in omegaconf==2.3.1 omegaconf==2.4.1rc1; do
    python3 -m venv "$folder/$package"
    "$folder/$package/bin/pip" install --quiet "$package" PyYAML==6.0.3
    "$folder/$package/bin/python" "$folder/run.py"
done
