import pytest

from cbam_ablate import load_config
from cbam_ablate.config import ConfigError
from cbam_ablate.config.canonical import run_key
from cbam_ablate.config.options import schema_node
from cbam_ablate.config.overrides import parse
from cbam_ablate.models.backbones import BACKBONES
from cbam_ablate.models.pretrained.published import NAMES
from cbam_ablate.torchvision_shim import import_torchvision


def test_defaults_are_those_of_the_contract():
    cfg = load_config()
    attention = cfg.model.attention
    assert (cfg.model.backbone, cfg.model.depth, cfg.model.width) == ("resnet", 18, 64)
    assert (attention.placement, attention.kind, attention.reduction, attention.kernel) == (
        "none",
        "cbam",
        16,
        7,
    )
    assert (cfg.data.name, cfg.seed, cfg.store) == ("cifar10", 0, "outputs")


def test_a_backbone_picked_without_a_depth_takes_its_own():
    cfg = load_config(["backbone=resnet_cifar"])
    assert (cfg.model.depth, cfg.model.width) == (20, 16)


def test_the_schema_that_a_config_is_made_from_is_not_the_next_ones():
    node = schema_node()
    node.table.labels = {"block": "Blocks"}
    node.train.epochs = 11
    again = schema_node()
    assert (again.table.labels, again.train.epochs) == ({}, load_config().train.epochs)


@pytest.mark.parametrize(
    "depth", ["18", "50", *(pytest.param(depth, marks=pytest.mark.slow) for depth in ("34", "101", "152"))]
)
def test_a_group_and_its_dotted_name_make_the_same_config(depth):
    assert load_config([f"depth={depth}"]) == load_config([f"model.depth={depth}"])


def test_values_outside_a_group_go_by_their_dotted_name():
    assert load_config(["placement=block", "model.attention.kernel=11"]).model.attention.kernel == 11


def test_free_keys_can_be_added_where_an_option_holds_them():
    assert load_config(["table.labels.block=Blocks"]).table.labels == {"block": "Blocks"}


@pytest.mark.parametrize("word", ["table.labels.block=Blocks", "placement=none,block", "logger.own.a=b:C"])
def test_what_was_read_once_is_read_the_same_again(word):
    once = parse([word])[0]
    assert parse([once.for_hydra])[0].for_hydra == once.for_hydra


def test_several_loggers_can_be_chosen_at_once():
    assert load_config(["logger=[none,csv]"]).logger.csv is True


def test_the_working_folders_own_conf_is_looked_in_first(tmp_path, monkeypatch):
    (tmp_path / "conf" / "optimizer").mkdir(parents=True)
    (tmp_path / "conf" / "optimizer" / "mine.yaml").write_text("name: sgd\nlr: 0.3\nweight_decay: 0.0\n")
    monkeypatch.chdir(tmp_path)
    assert load_config(["optimizer=mine"]).optimizer.lr == 0.3


BAD = {
    "depth=26": ("18, 19, 20",),
    "reduction=6": ("2, 4, 8", "model.attention.reduction=6"),
    "model.attention.pool[0]=avg": ("a list is set as a whole",),
    "depth=20": ("model.depth=20", "18, 34, 50, 101, 152"),
    "depth=18,34": ("several values", "-m"),
    "epochs=3": ("no option or group", "train.epochs"),
    "train.epoch=3": ("train.epochs",),
    "train.epochs=abc": ("train.epochs=abc", "whole number"),
    "train.epochs=1.5": ("whole number",),
    "train.epochs=0": ("at least 1",),
    "train=3": ("is a section", "train.epochs"),
    "attention=my_gates.Split": ("one of your own is written attention=my_gates:Split",),
    "placement=blok": ("did you mean block", "class"),
    "placement=": ("none, stage",),
    "backbone=densenet": ("resnet_cifar",),
    "attention=foo": ("cbam", "se"),
    "kernel=4": ("3, 5, 7, 9",),
    "model.attention.kernel=4": ("odd", "3 or 5"),
    "model.attention.kernel=-1": ("at least 1",),
    "model.attention.order=foo": ("channel_first", "parallel"),
    "model.attention.pool=[avg,foo]": ("avg, max, lp, lse",),
    "model.attention.pool=[]": ("avg, max, lp, lse",),
    "model.attention.residual=block": ("placement=none",),
    "model.width=0": ("at least 1",),
    "model.dropout=0.5": ("backbone=resnet doesn't read it",),
    "model.pretrained=imagenet": ("no weights of resnet;", "resnet_imagenet, resnext, vgg"),
    "data.val_size=0": ("at least 1",),
    "data.val_size=50000": ("50000", "49990"),
    "data.train_size=45001": ("45000",),
    "data.train_size=5": ("from 10",),
    "data.train_size=1.5": ("whole number",),
    "data=cifar11": ("cifar10", "did you mean"),
    "train.batch_size=45001": ("45000",),
    "train.label_smoothing=1": ("below 1",),
    "train.ema=1": ("below 1",),
    "train.device=tpu": ("auto, cpu, cuda",),
    "train.precision=fp8": ("auto, bf16, fp32",),
    "train.threads=0": ("at least 1",),
    "train.resume_from=nothing.pt": ("run key", "checkpoint"),
    "optimizer=lion": ("adam, adamw, sgd",),
    "optimizer.lr=0": ("above 0",),
    "optimizer.lr=nan": ("above 0",),
    "optimizer.lr=1e9": ("at most 100",),
    "optimizer.momentum=1": ("below 1",),
    "optimizer.momentum=0": ("nesterov",),
    "schedule.warmup_epochs=101": ("train.epochs=100",),
    "schedule.milestones=[0.7,0.5]": ("rising",),
    "augment.flip=maybe": ("true or false",),
    "seed=-1": ("at least 0",),
    "seed=one": ("whole number",),
    "sweep.mode=again": ("cached, retry, force, read_only",),
    "study=nothing": ("placement", "quick"),
    "logger=[csv,foo]": ("csv", "none"),
    "logger.own.ping=my_loggers": ("module:Name",),
    "nonsense": ("name=value",),
    "a=[1": ("can read",),
    "~seed": ("without ~",),
    "+foo=1": ("no option or group is called foo",),
}


QUICK = (
    "depth=26", "reduction=6", "model.attention.pool[0]=avg", "depth=18,34", "epochs=3", "train.epochs=1.5",
    "train.epochs=0", "train=3", "placement=blok", "placement=", "attention=foo", "kernel=4",
    "model.attention.pool=[avg,foo]", "model.dropout=0.5", "model.pretrained=imagenet", "data.val_size=50000",
    "train.ema=1", "train.resume_from=nothing.pt", "optimizer.lr=nan", "schedule.milestones=[0.7,0.5]",
    "augment.flip=maybe", "sweep.mode=again", "logger=[csv,foo]", "nonsense", "a=[1", "~seed", "+foo=1",
)  # fmt: skip
"""Those of `make test`; the others are slow."""


@pytest.mark.hydra
@pytest.mark.parametrize(
    "word", [pytest.param(word, marks=[] if word in QUICK else pytest.mark.slow) for word in BAD]
)
def test_bad_input_is_refused_naming_the_value_the_rule_and_the_alternatives(word):
    with pytest.raises(ConfigError) as error:
        load_config([word])
    for part in BAD[word]:
        assert part in str(error.value)


@pytest.mark.parametrize(
    "word", ["depth=26", "kernel=4", "kernel=11", "kernel=-1", "reduction=6", "reduction=0"]
)
def test_a_hint_to_a_dotted_name_leads_to_a_value_that_is_taken(word):
    with pytest.raises(ConfigError) as error:
        load_config([word, "placement=block"])
    hint = str(error.value).partition("its dotted name, ")[2]
    assert bool(hint) == (word in ("kernel=11", "reduction=6"))
    if hint:
        assert load_config([hint, "placement=block"])


IMPOSSIBLE = {
    "backbone=resnet_imagenet model.pretrained=no/such.pt": ("no such file", "or imagenet"),
    "backbone=resnet_imagenet model.pretrained=imagenet model.stride_in_1x1=true": ("the 3x3 convolution",),
    "backbone=resnext depth=101 model.pretrained=imagenet": ("for depth 50,", "not for depth 101"),
    "backbone=resnet_imagenet model.width=96 model.pretrained=imagenet": ("width 64", "width 96"),
    "backbone=resnet_imagenet data=fashion_mnist model.pretrained=imagenet": ("3 channels", "1 channels"),
}


@pytest.mark.parametrize("line", IMPOSSIBLE)
def test_weights_that_can_not_fit_are_refused_before_anything_is_built(line):
    with pytest.raises(ConfigError) as error:
        load_config(line.split())
    said = str(error.value)
    assert said.startswith("model.pretrained=")
    assert [part for part in IMPOSSIBLE[line] if part not in said] == []


@pytest.mark.parametrize("backbone", [name for name, row in BACKBONES.items() if row.published])
def test_the_weights_that_torchvision_has_are_those_the_table_tells(backbone):
    torchvision = import_torchvision()
    known = torchvision.models.list_models(module=torchvision.models)
    has = {depth for depth in BACKBONES[backbone].depths if NAMES[backbone].format(depth=depth) in known}
    assert has == {*BACKBONES[backbone].published}


def test_all_violations_are_reported_at_once():
    words = ["train.epochs=0", "optimizer.lr=-1", "model.attention.kernel=4", "seed=-1", "depth=20"]
    with pytest.raises(ConfigError) as error:
        load_config(words)
    named = {line.partition("=")[0] for line in str(error.value).splitlines()}
    assert named == {"train.epochs", "optimizer.lr", "model.attention.kernel", "seed", "model.depth"}


def test_of_an_option_given_twice_the_last_counts():
    assert load_config(["seed=1", "depth=34", "seed=2", "depth=50"]).seed == 2


@pytest.mark.parametrize(
    ("words", "depth"),
    [
        (["model.depth=50", "depth=34"], 34),
        (["depth=34", "model.depth=50"], 50),
        (["depth=34", "model.depth=50", "depth=auto"], 18),
    ],
)
def test_a_group_and_its_dotted_name_are_one_option(words, depth):
    assert load_config(words).model.depth == depth


def test_augmentations_can_be_chosen_together():
    both = load_config(["augment=[erasing,mixup]"]).augment
    assert both.mixup == load_config(["augment=mixup"]).augment.mixup > 0
    assert both.erasing == load_config(["augment=erasing"]).augment.erasing > 0


def test_reduction_is_held_to_the_narrowest_gated_map():
    with pytest.raises(ConfigError, match="at most 16"):
        load_config(["backbone=resnet_cifar", "placement=block", "reduction=32"])
    assert load_config(["backbone=resnet_cifar", "placement=class", "reduction=32"])
    assert load_config(["backbone=resnet_cifar", "placement=none", "reduction=32"])
    mobile = ["backbone=mobilenet", "placement=block", "reduction=32"]
    assert load_config([*mobile, "model.multiplier=1"])
    with pytest.raises(ConfigError, match="at most"):
        load_config([*mobile, "model.multiplier=0.25"])
    other = ["backbone=residual_attention", "placement=block", "model.attention.reduction=128"]
    assert load_config([*other, "model.widths=tensorflow"])


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["optimizer.weight_decay=-0.0"], ["optimizer.weight_decay=0"]),
        (["placement=block", "model.attention.pool=[max,avg]"], ["placement=block"]),
    ],
)
def test_one_meaning_has_one_key(words, same):
    assert run_key(load_config(words)) == run_key(load_config(same))


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("store=", "names no folder"),
        ("store='~no_such_user'", "no such user"),
        ("model.attention.mlp_bias=2", "true or false"),
        ("seed=010", "leading 0"),
        (f"optimizer.lr={'9' * 800}", "a smaller number"),
    ],
)
def test_what_is_easily_mistaken_is_refused(word, part):
    with pytest.raises(ConfigError, match=part):
        load_config([word])
