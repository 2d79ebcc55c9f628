#!/usr/bin/env bash
# pytest 9.2.0: after `monkeypatch.setattr(network, "head", another)` the network has no `head` at all. What is put
# back is what stood in the object's own __dict__, and where nothing did, the attribute is deleted. A PyTorch module
# keeps its layers and weights elsewhere, OmegaConf's DictConfig its values, and PyTorch's modules of settings
# (torch._dynamo.config) theirs: all of them lose what was replaced, so a network, a config or PyTorch itself that
# tests share is broken for every test after the first.
# Guessed before the run: 9.1.0 puts all of them back; 9.2.0 deletes a setting of torch._dynamo and a layer, and
# DictConfig, which is a mapping, is put back.
# Seen: 9.1.0 puts all back; 9.2.0 deletes all, DictConfig's value too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_put_back.py" <<'P'
import pytest
import torch
import torch._dynamo
from omegaconf import OmegaConf
from torch import nn

network = nn.Sequential()
network.head = nn.Linear(4, 2)
SHARED = {
    "layer": (network, "head", nn.Identity()),
    "weight": (network.head, "weight", nn.Parameter(torch.zeros(2, 4))),
    "config": (OmegaConf.create({"lr": 0.1}), "lr", 0.2),
    "setting": (torch._dynamo.config, "recompile_limit", 2),
}


@pytest.mark.parametrize("kind", SHARED)
def test_it_is_there_after_it_was_replaced(kind):
    owner, name, value = SHARED[kind]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
    assert getattr(owner, name, None) is not None
P
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy omegaconf==2.3.0
for pytest in 9.1.0 9.2.0; do
    env/bin/pip install --quiet "pytest==$pytest"
    env/bin/python -m pytest -rA -q -p no:cacheprovider test_put_back.py >said 2>&1 || true
    lost=$(sed -n 's/^FAILED .*\[\(.*\)\].*/\1/p' said | sort | paste -sd' ')
    echo "pytest $pytest, torch 2.13.0, omegaconf 2.3.0: gone afterwards: ${lost:-nothing}"
    echo "$lost" >"lost-$pytest"
done
[ -z "$(cat lost-9.1.0)" ] && [ "$(cat lost-9.2.0)" = "config layer setting weight" ]
