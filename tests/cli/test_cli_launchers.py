"""Launchers are those that were asked for, whatever is installed beside; they take options that they have."""

import copy

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from cbam_ablate.cli import run
from cbam_ablate.sweep import launchers
from cbam_ablate.sweep.outline import make_outline


@pytest.mark.parametrize("launcher", ["local", "joblib"])
def test_an_option_that_a_launcher_does_not_have_is_refused(tmp_path, capsys, launcher):
    words = ["-m", "seed=0,1", f"hydra/launcher={launcher}", "data=synthetic", f"store={tmp_path / 'store'}"]
    for plus, told in (("", "has no such option; it has"), ("+", "is set without +")):
        assert run("train", [*words, f"{plus}hydra.launcher.workers=2"]) == 1
        assert told in capsys.readouterr().err


REFUSED = {
    "hydra/launcher=submitit_slrm": "did you mean submitit_slurm?",
    "hydra/launcher=[joblib]": "one of basic, fused, joblib",
    "hydra/launcher=null": "one of basic, fused, joblib",
    "~hydra/launcher": "one of basic, fused, joblib",
    "+hydra/launcher=joblib": "chooses another, without +",
    "~hydra.launcher.jobs": "is set without ~",
    "++hydra.launcher._target_=a.B": "hydra/launcher=NAME chooses one",
}


@pytest.mark.parametrize("word", REFUSED)
def test_a_word_that_chooses_no_launcher_says_what_does(tmp_path, capsys, word):
    assert run("train", ["-m", "seed=0,1", "data=synthetic", word, f"store={tmp_path / 'store'}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert REFUSED[word] in line


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_free_keys_of_hydras_settings_are_set_by_any_word_of_hydras(plus):
    words = [f"{plus}hydra.launcher.additional_parameters.reservation=x", f"{plus}hydra.job.env_set.A=1"]
    node = make_outline(["seed=0,1", "hydra/launcher=submitit_slurm", *words]).composed.hydra
    assert (node.launcher.additional_parameters, node.job.env_set) == ({"reservation": "x"}, {"A": "1"})


@pytest.fixture
def plugins_schema(monkeypatch):
    """Stores a schema of the name of a launcher of ours, as Hydra's official plugins do."""
    Plugins.instance()
    monkeypatch.setattr(ConfigStore.instance(), "repo", copy.deepcopy(ConfigStore.instance().repo))

    def store(name, target):
        ConfigStore.instance().repo["hydra"]["launcher"].pop(f"{name}.yaml", None)  # the real plugin's
        node = {"_target_": target, "submitit_folder": "there"}
        ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="a plugin")

    return store


@pytest.mark.parametrize("launcher", ["submitit_slurm", "submitit_local", "ray"])
def test_a_plugin_with_a_launcher_of_the_same_name_changes_nothing(plugins_schema, launcher):
    words = ["seed=0,1", f"hydra/launcher={launcher}"]
    before = make_outline(words).composed.hydra.launcher
    plugins_schema(launcher, "its.Launcher")
    assert make_outline(words).composed.hydra.launcher == before


AWS = "hydra_plugins.hydra_ray_launcher.ray_aws_launcher.RayAWSLauncher"
FILES = {
    "_target_: its.Launcher\nfolder: here\n": "hydra.launcher.folder=here: hydra/launcher=mine has no such",
    "defaults: [joblib]\nn_jobs: two\n": "hydra.launcher.n_jobs=two: ",
    "defaults: [joblib]\nn_jobs: '2'\n": "write 2 without quotes",
    "defaults: [ray]\nfolder: here\n": "'folder'; hydra.launcher has address, num_cpus",
    "defaults: [submitit_local]\nfolder: here\n": "'folder'; hydra.launcher has jobs",
    "_target_: torch.nn.Module\n": "hydra/launcher=mine: ",
    f"_target_: {AWS}\n": "choose hydra/launcher=ray hydra.launcher.address=HOST:PORT",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_with_an_option_that_its_launcher_does_not_take_is_refused(
    tmp_path, monkeypatch, capsys, plugins_schema, text
):
    plugins_schema("theirs", "its.Launcher")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "conf" / "hydra" / "launcher" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    monkeypatch.setattr(launchers, "require_extra", lambda *_: None)  # refused without its package too
    assert run("train", ["-m", "seed=0,1", "data=synthetic", "hydra/launcher=mine"]) == 1
    assert FILES[text] in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_a_study_chooses_its_launcher_and_the_command_another(tmp_path, monkeypatch):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    text = "# @package _global_\ndefaults: [override /hydra/launcher: submitit_slurm]\n"
    text += "hydra: {sweeper: {params: {seed: '0,1'}}, launcher: {partition: gpu}}\n"
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    node = make_outline(["study=mine"]).composed.hydra.launcher
    assert node._target_.endswith("SlurmLauncher")
    assert node.partition == "gpu"
    words = ["study=mine", "hydra.launcher.partition=big", "hydra.launcher.pack=2"]
    assert make_outline(words).composed.hydra.launcher.partition == "big"


HEARS = """import os
from hydra.experimental.callback import Callback
class Hears(Callback):
    def on_job_end(self, config, **_): print(config.key, os.environ["FLAG"], file=open("heard", "a"))
"""
OF_STUDY = """# @package _global_
defaults: [override /hydra/launcher: LAUNCHER]
hydra:
  sweeper: {params: {seed: '0,1'}}
  job: {env_set: {FLAG: up}}
  callbacks: {its: {_target_: hears_in_study.Hears}}
"""


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.slow)])
def test_what_a_study_sets_of_hydra_reaches_the_jobs_of_a_plugins_launcher(
    cli, tiny, tmp_path, monkeypatch, launcher
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hears_in_study.py").write_text(HEARS)
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(OF_STUDY.replace("LAUNCHER", launcher))
    done = cli("train", *tiny, "train.epochs=1", "study=mine", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "heard").read_text().splitlines()) == sorted(f"{key} up" for key in cli.runs())
