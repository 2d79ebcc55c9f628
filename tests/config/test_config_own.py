import dataclasses
import textwrap

import pytest
import torch

from cbam_ablate import build_model, load_config, model_cost
from cbam_ablate.config.canonical import canonical, run_key
from cbam_ablate.errors import ConfigError
from cbam_ablate.source import source_hash

GATES = '''
    """Gates of mine."""
    import torch
    from torch import nn
    from my_helpers import squash

    class Split(nn.Module):
        def __init__(self, channels: int, groups: int = 4, power: float = 1.0):
            super().__init__()
            self.mix = nn.Conv2d(channels, channels, 1, groups=groups)

        def forward(self, x):
            return x * squash(self.mix(x.mean((2, 3), keepdim=True)))

    class Kernel(Split):
        def __init__(self, channels: int, kernel: int):
            super().__init__(channels)

    class Half(nn.Module):
        def __init__(self, channels: int):
            super().__init__()
            self.mix = nn.Conv2d(channels, channels // 2, 1)

        def forward(self, x):
            return self.mix(x)

    class Bare(nn.Module):
        def forward(self, x):
            return squash(x) * x

    class Broken(Half):
        def forward(self, x):
            return x * self.mix(x)

    class Net(nn.Module):
        def __init__(self, num_classes: int, in_channels: int, classes: int = 0):
            super().__init__()
            self.head = nn.Linear(in_channels, classes or num_classes)

        def forward(self, x):
            return self.head(x.mean((2, 3))).squeeze()

    class Centred(Net):
        def forward(self, x):
            return self.head((x - x.mean()).mean((2, 3)))

    class Looking(Net):
        def forward(self, x):
            return self.head(x.mean((2, 3))) if x.max().item() < 9 else None

    class Lost(Net):
        def __init__(self, num_classes: int, in_channels: int):
            super().__init__(num_classes, in_channels)
            self.conv = nn.Conv2d(in_channels, in_channels, 3)

        def forward(self, x):
            return {}["x"]
'''
BASE = ["data=synthetic", "backbone=resnet_cifar", "placement=block"]
SPLIT = [*BASE, "attention=my_gates:Split"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder with one's own modules in it."""
    (tmp_path / "my_gates.py").write_text(textwrap.dedent(GATES))
    (tmp_path / "my_helpers.py").write_text("import torch\n\n\ndef squash(x):\n    return torch.sigmoid(x)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_module_of_ones_own_stands_where_the_placement_says():
    cfg = load_config([*SPLIT, "attention.options.groups=2"])
    gates = [module for module in build_model(cfg).modules() if hasattr(module, "is_gate")]
    assert len(gates) == 9
    assert {(type(gate).__name__, gate.mix.groups) for gate in gates} == {("Split", 2)}


def test_a_module_without_a_constructor_takes_nothing():
    cfg = load_config([*BASE, "attention=my_gates:Bare", "kernel=3"])
    assert run_key(cfg) == run_key(load_config([*BASE, "attention=my_gates:Bare"]))
    assert (
        model_cost(cfg).params == model_cost(load_config(["data=synthetic", "backbone=resnet_cifar"])).params
    )


def test_a_file_of_the_group_may_name_it(folder):
    (folder / "conf" / "attention").mkdir(parents=True)
    text = "# @package model.attention\nkind: my_gates:Split\noptions: {groups: 2}\n"
    (folder / "conf" / "attention" / "split2.yaml").write_text(text)
    assert run_key(load_config([*BASE, "attention=split2"])) == run_key(
        load_config([*SPLIT, "attention.options.groups=2"])
    )


def test_what_its_signature_does_not_take_and_an_option_at_its_default_leave_the_key_alone():
    keys = {
        run_key(load_config([*SPLIT, *more]))
        for more in ([], ["kernel=3"], ["reduction=4"], ["attention.options.groups=4"])
    }
    assert len(keys) == 1
    assert run_key(load_config([*BASE, "attention=my_gates:Kernel", "kernel=3"])) != run_key(
        load_config([*BASE, "attention=my_gates:Kernel", "kernel=7"])
    )


@pytest.mark.parametrize("file", ["my_gates.py", "my_helpers.py"])
def test_changed_code_is_another_run_and_changed_layout_is_not(folder, file):
    before = run_key(load_config(SPLIT))
    edit(folder / file, "import torch", "# a comment\nimport torch")
    edit(folder / "my_gates.py", '"""Gates of mine."""', '"""Gates\nof ours."""')
    assert run_key(load_config(SPLIT)) == before
    old = "squash(self" if file == "my_gates.py" else "torch.sigmoid(x)"
    edit(folder / file, old, f"1.5 * {old}")
    assert run_key(load_config(SPLIT)) != before


def test_a_changed_module_is_imported_anew_and_a_config_of_the_old_one_refused(folder):
    old = load_config(SPLIT)
    params = model_cost(old).params
    edit(folder / "my_gates.py", "groups=groups)", "groups=groups, bias=False)")
    assert model_cost(load_config(SPLIT)).params < params
    with pytest.raises(ConfigError, match="its source has changed since this run was planned"):
        build_model(old)


def test_parts_without_effect_and_parts_of_ours_have_no_code_in_the_key():
    assert load_config(["data=synthetic", "attention=my_gates:Split"]).code == {}
    assert "code" not in canonical(load_config(BASE))
    assert set(load_config(SPLIT).code) == {"my_gates:Split"}


def test_the_hash_of_a_source_is_pinned():
    assert (
        source_hash("my_helpers:squash") == "129597781f2f443cfec11e5e3eb12e36202cfccc1ca163f82f9bd1b938e3a8b6"
    )


REFUSED = {
    "attention=my_gates:Splitt": ("my_gates has no Splitt", "did you mean Split?"),
    "attention=my_gate:Split": ("no module my_gate", "did you mean my_gates?"),
    "attention.options.group=2": ("my_gates:Split takes groups: int = 4", "did you mean groups?"),
    "attention.options.groups=two": ("groups=two", "a whole number", "groups: int = 4"),
    "code.x=1": ("nothing to set",),
    "model.pretrained=imagenet backbone=my_gates:Net": ("nobody publishes weights", "give a file"),
}


@pytest.mark.parametrize("word", REFUSED)
def test_bad_input_is_refused_in_one_line_with_the_alternatives(word):
    with pytest.raises(ConfigError) as error:
        load_config([*SPLIT, *word.split()])
    (line,) = str(error.value).splitlines()
    for part in REFUSED[word]:
        assert part in line


def test_an_error_in_ones_own_module_names_its_file_and_line(folder):
    with pytest.raises(ConfigError, match=r"RuntimeError in my_gates.py line 33: The size of tensor"):
        model_cost(load_config([*BASE, "attention=my_gates:Broken"]))
    (folder / "my_bad.py").write_text("import os\n\nx = 1 / 0\n")
    with pytest.raises(ConfigError, match=r"my_bad:Gate: ZeroDivisionError in my_bad.py line 3"):
        load_config([*BASE, "attention=my_bad:Gate"])
    (folder / "my_bad.py").write_text("def gate(:\n")
    with pytest.raises(ConfigError, match=r"attention=my_bad:Gate: my_bad.py line 1: SyntaxError"):
        load_config([*BASE, "attention=my_bad:Gate"])


def test_attention_that_makes_another_shape_and_a_network_without_logits_are_refused():
    with pytest.raises(ConfigError, match="makes 8x32x32 of a map of 16x32x32"):
        model_cost(load_config([*BASE, "attention=my_gates:Half"]))
    net = ["data=synthetic", "backbone=my_gates:Net"]
    assert model_cost(load_config(net)).params == 40
    with pytest.raises(ConfigError, match=r"gives \(2, 7\) for 2 images; it must give logits, \(2, 10\)"):
        model_cost(load_config([*net, "backbone.options.classes=7"]))


def test_a_network_may_average_all_of_a_map():
    assert model_cost(load_config(["data=synthetic", "backbone=my_gates:Centred"])).params == 40


def test_the_cost_of_a_network_that_looks_at_values_loads_no_weights(caplog):
    words = ["data=synthetic", "backbone=my_gates:Looking"]
    torch.save({"model": build_model(load_config(words)).state_dict()}, "weights.pt")
    cfg = load_config([*words, "model.pretrained=weights.pt"])
    with caplog.at_level("INFO", "cbam_ablate"):
        assert model_cost(cfg).params == 40
        assert "tensors loaded" not in caplog.text
        build_model(cfg)
    assert "tensors loaded" in caplog.text


@pytest.mark.parametrize("placement", ["none", "block", "class"])
def test_an_error_in_ones_own_network_names_its_line_wherever_attention_goes(placement):
    words = ["data=synthetic", "backbone=my_gates:Lost", f"placement={placement}"]
    with pytest.raises(ConfigError, match=r"KeyError in my_gates.py line 57: 'x'"):
        model_cost(load_config(words))


def test_an_entry_point_of_an_installed_package_is_a_name(monkeypatch):
    from cbam_ablate import own

    monkeypatch.setattr(
        own, "entry_points", lambda group: {"split": "my_gates:Split"} if group == "attention" else {}
    )
    named = load_config([*BASE, "attention=split"])
    assert named.model.attention.kind == "split"
    assert list(named.code.values()) == list(load_config(SPLIT).code.values())
    assert dataclasses.replace(named.model.attention, kind="") == dataclasses.replace(
        load_config(SPLIT).model.attention, kind=""
    )
