"""Files of weights in the forms that people have."""

import argparse

import numpy as np
import pytest
import torch

from cbam_ablate.errors import DataError
from cbam_ablate.models.pretrained.files import read_weights, unwrapped

STATE = {"conv.weight": torch.ones(2), "conv.bias": torch.zeros(2), "fc.weight": torch.ones(1)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "best_prec1": np.float64(91.2)},
        lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"net": {f"module.{name}": value for name, value in state.items()}, "acc": 95.1},
        lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}},
        lambda state: {f"module.model.{name}": value for name, value in state.items()},
    ],
    ids=["bare", "state_dict", "model", "net in DataParallel", "Lightning", "both prefixes"],
)
@pytest.mark.parametrize("ending", ["pt", "th", "pth.tar"])
def test_weights_are_found_in_whatever_wraps_them(tmp_path, wrap, ending):
    path = tmp_path / f"weights.{ending}"
    torch.save(wrap(STATE), path)
    found = read_weights(path, "here").tensors
    assert list(found) == list(STATE)
    assert all(torch.equal(found[name], value) for name, value in STATE.items())


def test_safetensors_are_weights_too(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(STATE, tmp_path / "weights.safetensors")
    found = read_weights(tmp_path / "weights.safetensors", "here").tensors
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in STATE.items()
    }


def test_lightning_s_tensors_beside_the_network_are_told_apart():
    state = {f"net.{name}": value for name, value in STATE.items()} | {"criterion.weight": torch.ones(3)}
    found = unwrapped({"state_dict": state})
    assert list(found.tensors) == list(STATE)
    assert found.beside == ["criterion.weight"]


class Harm:
    def __reduce__(self):
        return (print, ("run",))


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"state_dict": STATE, "extra": Harm()}, tmp_path / "weights.pt")
    with pytest.raises(DataError, match="here: not a file of weights"):
        read_weights(tmp_path / "weights.pt", "here")
    assert capsys.readouterr().out == ""
