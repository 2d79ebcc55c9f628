"""`evaluate weights=FILE`: a file's scores without any training."""

import json

import pytest
import torch
from torch.nn import functional as F

from cbam_ablate import build_model, load_config
from cbam_ablate.cli.evaluate import main
from cbam_ablate.data import make_feed
from cbam_ablate.errors import ConfigError, DataError

NETWORK = ["backbone=resnet_cifar", "depth=20", "model.width=4", "train.device=cpu"]


@pytest.fixture
def words(tiny):
    return [*tiny, *NETWORK]


def test_a_file_of_weights_is_scored_as_its_network_scores(words, tmp_path, capsys):
    cfg = load_config([*words, "train.precision=fp32"])
    network = build_model(cfg).eval()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pth")
    assert main([*words, f"weights={tmp_path / 'weights.pth'}"]) == 0
    found = json.loads(capsys.readouterr().out)
    images, labels = zip(*make_feed(cfg, torch.device("cpu"), "fp32").evaluate("test"), strict=True)
    with torch.no_grad():
        logits = torch.cat([network(batch) for batch in images])
    truth = torch.cat(list(labels))
    assert found["loss"] == pytest.approx(F.cross_entropy(logits, truth).item(), rel=1e-5)
    assert found["top1"] == pytest.approx(100 * (logits.argmax(1) == truth).float().mean().item())
    assert found["params"] == sum(parameter.numel() for parameter in network.parameters())


def test_weights_that_leave_attention_fresh_are_not_scored(words, tmp_path):
    torch.save(build_model(load_config(words)).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="the network isn't all in it"):
        main([*words, "placement=class", "reduction=4", f"weights={tmp_path / 'weights.pth'}"])


def test_weights_with_attention_are_not_scored_without_it(words, tmp_path):
    gated = build_model(load_config([*words, "placement=block", "reduction=4"]))
    torch.save(gated.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(
        ConfigError, match=r"tensors of attention have no place in this network.*trained with"
    ):
        main([*words, f"weights={tmp_path / 'weights.pth'}"])


def test_a_file_that_holds_no_weights_is_told_by_the_option_that_named_it(words, tmp_path):
    (tmp_path / "weights.pth").write_text("hello")
    with pytest.raises(DataError) as told:
        main([*words, f"weights={tmp_path / 'weights.pth'}"])
    assert str(told.value).startswith(f"weights={tmp_path / 'weights.pth'}: not a file of weights")
    assert "arbitrary code" not in str(told.value)
