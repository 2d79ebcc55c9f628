import logging

import pytest
import torch
from torchvision import models as torchvision

from cbam_ablate.config.canonical import run_key
from cbam_ablate.errors import ConfigError, DataError, ServiceError
from cbam_ablate.models import build_model
from cbam_ablate.models import weights as weights_module
from cbam_ablate.models.weights import load_pretrained
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep.job import run_one
from tests.composed import composed


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    torch.save(torchvision.resnet18().state_dict(), path)
    return str(path)


def test_everything_but_attention_is_loaded(configure, weights):
    cfg = configure("resnet_imagenet", 18, "both", "imagenet", pretrained=weights)
    report = load_pretrained(build_model(cfg, pretrained=False), cfg.model)
    assert len(report.loaded) == len(torch.load(weights))
    assert report.fresh
    assert all("attention" in name for name in report.fresh)
    assert report.unused == []


def test_another_number_of_classes_leaves_the_classifier_fresh(configure, weights):
    cfg = configure("resnet_imagenet", 18, data="cifar100", pretrained=weights)
    network = build_model(cfg, pretrained=False)
    before = network.classifier.weight.clone()
    report = load_pretrained(network, cfg.model)
    assert report.fresh == report.unused == ["classifier.weight", "classifier.bias"]
    assert torch.equal(network.classifier.weight, before)


def test_what_was_loaded_is_logged(configure, weights, caplog):
    with caplog.at_level(logging.INFO):
        build_model(configure("resnet_imagenet", 18, pretrained=weights))
    assert "120 tensors loaded; fresh: classifier.weight, classifier.bias" in caplog.text


def test_the_attention_that_starts_fresh_is_told_by_its_number(configure, weights, caplog):
    with caplog.at_level(logging.INFO):
        network = build_model(configure("resnet_imagenet", 18, "block", pretrained=weights))
    fresh = sum("attention" in name for name in network.state_dict())
    assert fresh > 50
    (message,) = caplog.messages
    assert f"fresh: classifier.weight, classifier.bias, {fresh} of attention; unused:" in message


@pytest.fixture
def narrow(tiny, tmp_path):
    """A run of a narrow network that starts from a file, and the file."""
    words = [
        *tiny,
        "backbone=resnet_imagenet",
        "depth=18",
        "model.width=8",
        "train.epochs=1",
        f"store={tmp_path}",
    ]
    path = tmp_path / "narrow.pt"
    torch.save(build_model(composed(words)).state_dict(), path)
    return composed([*words, "placement=class", "attention=se", f"model.pretrained={path}"]), path


def test_a_run_says_what_was_loaded_in_its_log_and_its_messages(narrow, caplog):
    caplog.set_level("INFO", "cbam_ablate")
    cfg, path = narrow
    assert run_one(cfg).name == "finished"
    loaded = len(torch.load(path))
    line = f"model.pretrained={path}: {loaded} tensors loaded; fresh: 4 of attention; unused: none"
    run = RunStore(cfg.store).run(run_key(cfg))
    log = (run.path / "train.log").read_text()
    assert log.count(line) == caplog.text.count(line) == 1
    stored = run.result()["pretrained"]
    assert (stored["source"], stored["loaded"], stored["fresh"]) == (str(path), loaded, "4 of attention")


def test_a_run_that_goes_on_reads_no_weights_to_overwrite_them(narrow, monkeypatch):
    cfg, _ = narrow
    run_one(cfg)
    run = RunStore(cfg.store).run(run_key(cfg))
    (run.path / "result.json").unlink()
    monkeypatch.delattr(weights_module, "_read")
    assert run_one(cfg).name == "finished"
    log = (run.path / "train.log").read_text()
    assert "goes on from its own last.pt" in log
    assert log.count("tensors loaded") == 1


def test_a_run_whose_weights_file_is_gone_cant_be_named(narrow):
    cfg, path = narrow
    path.unlink()
    with pytest.raises(ConfigError, match="can't be read, and what is in it is part of what the run is"):
        run_key(cfg)


def test_our_own_checkpoint_is_read_too(configure, tmp_path):
    trained = build_model(configure("resnet_imagenet", 18, "block", width=32))
    torch.save({"model": trained.state_dict(), "epoch": 3}, tmp_path / "best.pt")
    cfg = configure("resnet_imagenet", 18, "block", width=32, pretrained=str(tmp_path / "best.pt"))
    ours = build_model(cfg).state_dict()
    assert all(torch.equal(ours[name], value) for name, value in trained.state_dict().items())


@pytest.mark.parametrize(
    "other", [{"reduction": 4}, {"kernel": 3}, {"kind": "se"}, {"residual": "block"}, {"placement": "both"}]
)
def test_attention_other_than_the_files_starts_fresh(configure, tmp_path, other):
    trained = build_model(configure("resnet_imagenet", 18, "block", width=32))
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    words = {"placement": "block", **other}
    cfg = configure(
        "resnet_imagenet", 18, words.pop("placement"), width=32, pretrained=str(tmp_path / "best.pt")
    )
    for name, value in words.items():
        setattr(cfg.model.attention, name, value)
    network = build_model(cfg, pretrained=False)
    report = load_pretrained(network, cfg.model)
    assert set(report.fresh) == {name for name in network.state_dict() if "attention" in name}


def test_meta_build_reads_no_file(configure):
    with torch.device("meta"):
        network = build_model(configure("resnet_imagenet", 18, pretrained="no/such/file"))
    assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.parametrize(
    ("depth", "options", "message"),
    [
        (34, {}, r"not the weights of resnet_imagenet of depth 34: .* is missing.*and \d+ more"),
        (18, {"width": 32}, r"is \(32, 64, 3, 3\) here, \(64, 64, 3, 3\) there"),
        (18, {"stem": "cifar"}, r"\(64, 3, 7, 7\) there.*; model.stem=imagenet is the other first layer"),
        (18, {"pretrained": "no/such/file"}, "no such file; give a file of weights, or imagenet"),
    ],
)
def test_weights_of_another_network_are_refused(configure, weights, depth, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(configure("resnet_imagenet", depth, **{"pretrained": weights, **options}))


def test_a_file_that_holds_no_weights_is_refused(configure, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_text("not weights")
    with pytest.raises(DataError, match=r"not a file of weights \((?!\w+Error)"):
        build_model(configure("resnet_imagenet", 18, pretrained=str(path)))


def test_without_a_network_the_error_says_to_give_a_file(configure, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"can't be downloaded .* give the path of a local copy"):
        build_model(configure("resnet_imagenet", 18, pretrained="imagenet"))
