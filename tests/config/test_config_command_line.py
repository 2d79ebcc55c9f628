"""The words that make a config again."""

import pytest

from cbam_ablate import load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.config.command_line import literal, words_of
from cbam_ablate.config.overrides import parse
from tests.composed import composed

ODD = [
    [],
    [
        *("depth=50", "placement=both", "attention=bam", "reduction=8", "seed=3"),
        *("optimizer=adamw", "optimizer.lr=3e-4", "schedule=step", "schedule.milestones=[0.25,0.5,0.9]"),
    ],
    [
        *("backbone=wide_resnet", "model.depth=16", "loss=focal", "loss.gamma=3"),
        *("data=synthetic", "augment=cutmix", "data.mean=[0.1,0.2,0.3]", "data.std=[1.0,0.5,0.25]"),
        *("optimizer.clip_norm=1", "train.ema=0.9"),
    ],
    [
        "placement=block",
        "model.attention.reduction=12",
        "model.attention.pool=[max,lse]",
        "model.attention.kernel=5",
    ],
    ["model.attention.at=[layer1.*,layer3.0]", "train.select=last"],
    ["attention=timm", "model.attention.timm=eca", "placement=block"],
    ["study=cbam_table1"],
]


@pytest.mark.parametrize("words", ODD, ids=" ".join)
def test_a_configs_words_make_a_run_of_the_same_key(words):
    cfg = composed(words)
    assert run_key(load_config(words_of(cfg))) == run_key(cfg)


@pytest.mark.parametrize(
    "text",
    [
        "it's, a {folder}: 'null'",
        "null",
        "12",
        "True",
        "1e5",
        "",
        " x",
        "a=b",
        "[a]",
        "a\\",
        "0x10",
        "a\\'b",
        "~/x",
    ],
)
def test_text_that_hydra_would_read_as_something_else_is_quoted(text):
    assert parse([f"data.root={literal(text)}"])[0].values == [text]
