from functools import cache

import pytest
import torch

from cbam_ablate import load_config
from cbam_ablate.config.canonical import canonical, effective, from_dict, run_key, to_dict
from cbam_ablate.models import build_model
from tests.composed import composed


@cache
def key(*words):
    return run_key(load_config(words))


def test_the_key_of_the_default_run_never_changes():
    assert key() == "462163429a7cc74a"


def test_the_key_of_a_cbam_run_never_changes():
    assert key("backbone=resnet_cifar", "placement=block", "seed=3") == "e6608eeeb0a72ad3"


def test_one_baseline_serves_every_reduction_kernel_and_attention():
    assert key("placement=none", "reduction=4", "kernel=3", "attention=se") == key()


@pytest.mark.parametrize(
    "words",
    [
        ("train.device=cpu",),
        ("train.threads=1",),
        ("train.compile=on",),
        ("train.save_every=7",),
        ("train.log_every=1",),
        ("name=mine",),
        ("store=elsewhere",),
        ("logger=csv",),
        ("sweep.retries=3",),
        ("table.caption=hello",),
        ("data.root=somewhere",),
        ("train.label_smoothing=0",),
        ("optimizer.beta1=0.8",),
        ("schedule.gamma=0.5",),
        ("data.subset_seed=5",),
        ("depth=18",),
        ("model.width=64",),
    ],
)
def test_what_does_not_change_the_measurement_does_not_change_the_key(words):
    assert run_key(composed(words)) == key()


@pytest.mark.parametrize(
    "words",
    [
        ("seed=1",),
        ("depth=34",),
        ("model.width=32",),
        ("placement=block",),
        ("train.epochs=99",),
        ("train.batch_size=64",),
        ("train.label_smoothing=0.1",),
        ("train.precision=fp32",),
        ("optimizer.lr=0.2",),
        ("optimizer.nesterov=false",),
        ("optimizer=adamw",),
        ("schedule=step",),
        ("augment=none",),
        ("data.train_size=1000",),
        ("data.val_size=1000",),
        ("data=cifar100",),
    ],
)
def test_what_changes_the_measurement_changes_the_key(words):
    assert run_key(composed(words)) != key()


@pytest.mark.parametrize(
    ("placement", "residual", "as_good_as"),
    [
        ("block", "class", "none"),
        ("block", "both", "block"),
        ("class", "both", "class"),
        ("class", "block", "none"),
        ("stage", "both", "none"),
        ("both", "block", "block"),
    ],
)
def test_a_residual_reaches_as_far_as_the_placement(placement, residual, as_good_as):
    def of(residual):
        narrow = ["model.width=8", "reduction=4"]
        return composed([*narrow, f"placement={placement}", f"model.attention.residual={residual}"])

    assert effective(of(residual)) == effective(of(as_good_as))
    networks = [build_model(of(value)).eval() for value in (residual, as_good_as)]
    networks[1].load_state_dict(networks[0].state_dict())
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(networks[0](x), networks[1](x))


def test_an_option_that_the_attention_ignores_leaves_the_key_alone():
    se = ("placement=block", "attention=se")
    assert key(*se, "kernel=3") == key(*se)
    only = ("placement=block", "model.attention.order=channel_only")
    assert key(*only, "kernel=3") == key(*only)


def test_options_at_their_off_value_are_not_part_of_the_canonical_form():
    assert not {"train.ema", "optimizer.clip_norm", "schedule.warmup_epochs"} & set(canonical(load_config()))


def test_a_config_survives_json():
    cfg = load_config(["placement=block", "table.labels.a=b", "schedule=step"])
    assert from_dict(to_dict(cfg)) == cfg


def test_an_option_of_another_version_is_refused_by_name():
    with pytest.raises(ValueError, match=r"train\.foo: this version"):
        from_dict({"train": {"foo": 1}})


def test_other_weights_in_a_file_of_the_same_name_are_another_run(tmp_path):
    weights = tmp_path / "weights.pt"
    words = ["backbone=resnet_imagenet", "depth=18", f"model.pretrained={weights}"]
    keys = []
    for content in (b"one", b"another"):
        weights.write_bytes(content)
        keys.append(run_key(load_config(words)))
    assert keys[0] != keys[1]
    weights.rename(tmp_path / "moved.pt")
    assert run_key(load_config([*words[:2], f"model.pretrained={tmp_path / 'moved.pt'}"])) == keys[1]


@pytest.mark.parametrize(
    ("network", "placement", "moved"),
    [
        ("mobilenetv3_large_100", "block", True),
        ("mobilenetv3_large_100", "none", False),
        ("resnet50", "block", False),
        ("resnet50", "stage", False),
        ("inception_v4", "stage", True),
    ],
)
def test_a_network_whose_places_for_attention_were_mended_has_another_key(network, placement, moved):
    cfg = composed(["backbone=timm", f"model.timm={network}", f"placement={placement}"])
    assert ("model.attention.places" in canonical(cfg)) == moved
