"""What a Hydra user types: flags, settings of Hydra's own, folders and groups of one's own."""

import os
import subprocess
import sys

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from cbam_ablate.cli import run
from cbam_ablate.config import ConfigError, load_config
from cbam_ablate.config.where import conf_dir
from cbam_ablate.sweep.outline import make_outline

HERE = "hydra.launcher.jobs=0"
OWN = {
    "conf/experiment/short.yaml": "# @package _global_\ndefaults: [override /optimizer: adam]\n"
    "train: {epochs: 7}\nmodel: {depth: 34}\n",
    "conf/experiment/vision/long.yaml": "# @package _global_\ntrain: {epochs: 90}\n",
    "conf/mine.yaml": "defaults: [cbam_ablate, override optimizer: adam, _self_]\ntrain: {epochs: 3}\n",
    "conf/swept.yaml": "defaults: [cbam_ablate, _self_]\nhydra: {sweeper: {params: {seed: '0,1'}}}\n",
    "more/optimizer/mine.yaml": "name: sgd\nlr: 0.7\nweight_decay: 0.0\n",
    "more/optimizer/sgd.yaml": "name: sgd\nlr: 0.6\nweight_decay: 0.0\n",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    for name, text in OWN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys, *words):
    assert run("train", list(words)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", ["job", "hydra", "all"])
def test_cfg_prints_what_hydra_composes(own, capsys, kind, version_base):
    out = yaml.safe_load(printed(capsys, "--cfg", kind, "seed=3", "depth=34"))
    with initialize_config_dir(str(conf_dir()), **version_base):
        composed = compose("config", ["seed=3", "depth='34'"], return_hydra_config=True)
    assert ("hydra" in out, "model" in out) == (kind != "job", kind != "hydra")
    for name, value in out.items():
        if name != "hydra":
            assert value == composed[name]


def test_a_package_of_the_config_is_printed_and_resolved(own, capsys):
    assert printed(capsys, "--cfg", "job", "-p", "optimizer.lr", "optimizer=adam") == "0.001\n"
    out = printed(capsys, "--cfg", "hydra", "--package", "hydra.sweep", "--resolve", "store=there")
    assert out == "# @package hydra.sweep\ndir: there/studies/.jobs\nsubdir: .\n"
    assert printed(capsys, "-m", "--cfg", "job", "-p", "seed", "seed=4,5", "depth=18,34") == "0\n"
    assert run("train", ["--cfg", "job", "-p", "optimiser"]) == 1
    assert "--package optimiser: the config has no such section" in capsys.readouterr().err


def test_info_and_hydra_help_are_hydras_own_and_leave_it_as_it_was(own, capsys):
    before = HydraConfig.instance().cfg
    assert "optimizer: adam" in printed(capsys, "--info", "defaults-tree", "optimizer=adam")
    assert f"conf://{own}/conf" in printed(capsys, "--info", "searchpath")
    assert "== Flags ==" in printed(capsys, "--hydra-help")
    assert HydraConfig.instance().cfg is before
    assert not GlobalHydra.instance().is_initialized()


def test_help_lists_the_groups_with_their_choices_and_defaults(own, capsys):
    out = " ".join(printed(capsys, "--help").split())
    assert "placement block, both, class, none, stage (default none)" in out
    assert "experiment short, vision/long" in out


def test_a_config_of_ones_own_is_begun_with_by_name_or_folder(own, capsys):
    assert printed(capsys, "-cn", "mine", "--cfg", "job", "-p", "train.epochs") == "3\n"
    assert printed(capsys, "--config-name=mine", "--cfg", "job", "-p", "optimizer.name") == "adam\n"
    words = ["--config-path", "more", "--cfg", "job", "-p", "optimizer.lr", "optimizer=mine"]
    assert printed(capsys, *words) == "0.7\n"
    assert run("train", ["-cn", "other"]) == 1
    assert "--config-name other: no other.yaml in" in capsys.readouterr().err


@pytest.mark.parametrize("choice", ["mine", "sgd"])
def test_folders_of_configs_are_looked_up_before_ours(own, capsys, choice):
    lr = {"mine": 0.7, "sgd": 0.6}[choice]
    words = ["--cfg", "job", "-p", "optimizer.lr", f"optimizer={choice}"]
    assert printed(capsys, "--config-dir", "more", *words) == f"{lr}\n"
    assert load_config(["hydra.searchpath=[file://more]", f"optimizer={choice}"]).optimizer.lr == lr
    cells = make_outline(["hydra.searchpath=[file://more]", f"optimizer=adam,{choice}"]).cells
    assert [cell.cfg.optimizer.lr for cell in cells] == [0.001, lr]


@pytest.mark.parametrize("folder", ["nowhere", "pkg://no.such", "pkg://.such"])
def test_a_folder_of_configs_that_is_not_there_is_refused(own, folder):
    with pytest.raises(ConfigError, match=r"no such folder|no package"):
        load_config([f"hydra.searchpath=[{folder}]"])


@pytest.mark.parametrize("plus", ["", "+"])
def test_a_group_of_ones_own_is_chosen_and_swept(own, plus):
    cfg = load_config([f"{plus}experiment=short"])
    assert (cfg.train.epochs, cfg.optimizer.name, cfg.model.depth) == (7, "adam", 34)
    assert load_config([f"{plus}experiment=short", "depth=50"]).model.depth == 50
    cells = make_outline([f"{plus}experiment=short,vision/long", "seed=0,1"]).cells
    assert [(cell.axes["experiment"], cell.cfg.train.epochs) for cell in cells[::2]] == [
        ("short", 7),
        ("vision/long", 90),
    ]
    with pytest.raises(ConfigError, match="not one of short, vision/long"):
        load_config([f"{plus}experiment=none"])


FORMS = {
    "+seed=1": "seed=1 sets it, without +",
    "+placement=block": "placement=block sets it, without +",
    "~seed": "seed=VALUE sets it, without ~",
    "~augment": "augment.crop_padding: has no value; pick a choice of its group",
    "optimizer@train=sgd": "without @",
    "++foo=1": "no option or group is called foo",
}


@pytest.mark.parametrize("word", FORMS)
def test_forms_of_hydra_that_make_no_sense_are_refused_with_what_to_write(word):
    with pytest.raises(ConfigError) as error:
        load_config([word])
    assert FORMS[word] in str(error.value)


def test_what_is_forced_is_set():
    assert load_config(["++seed=3", "++placement=block"]) == load_config(["seed=3", "placement=block"])


UNUSED = [
    "hydra.run.dir=x", "hydra.sweep.dir=x", "hydra.sweep.subdir=x", "hydra.output_subdir=x",
    "hydra.verbose=true", "hydra.job.name=x", "hydra.job.chdir=true", "hydra.job.num=3",
    "hydra.help.app_name=x", "+hydra.foo=1", "+hydra.job.foo=1",
    "hydra.runtime.cwd=x", "hydra.overrides.task=[x]",
    "hydra/job_logging=default", "hydra/hydra_logging=colorlog", "hydra/sweeper=basic",
]  # fmt: skip


QUICK = ("hydra.run.dir=x", "hydra/sweeper=basic")
OF_A_SWEEP = [pytest.param("-m", word, marks=[] if word in QUICK else pytest.mark.slow) for word in UNUSED]


@pytest.mark.hydra
@pytest.mark.parametrize(("flag", "word"), [*(("", word) for word in UNUSED), *OF_A_SWEEP])
def test_a_setting_of_hydra_without_effect_is_refused_by_name(tmp_path, capsys, word, flag):
    assert run("train", [*filter(None, [flag]), word, f"store={tmp_path / 'store'}"]) == 1
    err = capsys.readouterr().err
    assert word.partition("=")[0].lstrip("+") in err
    assert "bug of ours" not in err
    assert not (tmp_path / "store").exists()


def test_a_setting_without_effect_is_refused_in_a_study_too(tmp_path, monkeypatch, capsys):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    study = tmp_path / "conf" / "study" / "mine.yaml"
    monkeypatch.chdir(tmp_path)
    for text, name in (
        ("hydra: {sweep: {dir: there}}", "hydra.sweep.dir=there"),
        ("defaults: [override /hydra/sweeper: basic]", "hydra/sweeper=basic"),
        ("hydra: {job: {chdir: true}}", "hydra.job.chdir=true"),
    ):
        study.write_text(f"# @package _global_\n{text}\n")
        assert run("train", ["study=mine", "sweep.dry_run=true", "data=synthetic"]) == 1
        assert name in capsys.readouterr().err


OF_SWEEPS = [
    "hydra.sweeper.params={seed:'0,1'}", "hydra/launcher=joblib", "hydra.launcher.jobs=2",
    "hydra.mode=SOMETIMES",
]  # fmt: skip


@pytest.mark.parametrize("word", OF_SWEEPS)
def test_what_is_of_sweeps_is_refused_of_a_single_run(tmp_path, capsys, word):
    assert run("train", [word, f"store={tmp_path / 'store'}"]) == 1
    assert word.partition("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_config_that_declares_a_sweep_is_not_trained_as_one_run(own, capsys):
    assert run("train", ["-cn", "swept", "sweep.dry_run=true", "data=synthetic"]) == 1
    assert "declares a sweep; add -m" in capsys.readouterr().err
    assert run("train", ["-m", "-cn", "swept", "sweep.dry_run=true", "data=synthetic"]) == 0
    assert "2 cells" in capsys.readouterr().out


def test_hydras_mode_is_a_sweeps_flag(tmp_path, capsys):
    words = ["seed=0,1", "sweep.dry_run=true", "data=synthetic", f"store={tmp_path}"]
    for flag in ("hydra.mode=MULTIRUN", "--multirun"):
        assert run("train", [*words, flag]) == 0
        assert "2 cells" in capsys.readouterr().out
    assert run("train", ["-m", *words, "hydra.mode=RUN"]) == 1
    assert "one of them" in capsys.readouterr().err


HEARS = """
import os
from hydra.experimental.callback import Callback
class Hears(Callback):
    def note(self, *words):
        with open(os.environ['HEARD'], 'a') as file:
            print(*words, os.environ.get('FLAG'), file=file)
    def on_run_start(self, config, **_): self.note('run', config.seed)
    def on_run_end(self, config, **_): self.note('ran', config.seed)
    def on_multirun_start(self, config, **_): self.note('multirun', config.seed)
    def on_multirun_end(self, config, **_): self.note('multiran', config.seed)
    def on_job_start(self, config, **_): self.note('job', len(config.key))
    def on_job_end(self, config, job_return, **_): self.note('done', job_return.status.name)
"""
SETTINGS = ["+hydra.callbacks.mine._target_=hears_all.Hears", "+hydra.job.env_set.FLAG=up"]


@pytest.fixture
def heard(tmp_path, monkeypatch):
    (tmp_path / "hears_all.py").write_text(HEARS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HEARD", str(tmp_path / "heard.txt"))
    return lambda: sorted((tmp_path / "heard.txt").read_text().splitlines())


def test_callbacks_and_environment_of_a_single_run(heard, tmp_path, tiny):
    assert run("train", [*tiny, "train.epochs=1", *SETTINGS, f"store={tmp_path / 'store'}"]) == 0
    assert heard() == ["done COMPLETED up", "job 16 up", "ran 0 up", "run 0 up"]
    assert "FLAG" not in os.environ


@pytest.mark.slow
@pytest.mark.hydra
@pytest.mark.parametrize("launcher", ["local", "basic", "joblib", "fused"])
def test_callbacks_and_environment_of_every_job_on_every_launcher(heard, cli, tiny, launcher):
    words = ["-m", *tiny, "train.epochs=1", "seed=0,1", *SETTINGS, f"hydra/launcher={launcher}"]
    done = cli("train", *words, env={"HEARD": os.environ["HEARD"], "PYTHONPATH": os.environ["PYTHONPATH"]})
    assert done.returncode == 0, done.stderr
    jobs = ["done COMPLETED up"] * 2 + ["job 16 up"] * 2
    assert heard() == sorted([*jobs, "multirun 0 up", "multiran 0 up"])


BEFORE = "import cbam_ablate\nfrom hydra import compose, initialize_config_dir"
AFTER = "from hydra import compose, initialize_config_dir\nimport cbam_ablate"


@pytest.mark.parametrize("imports", [BEFORE, AFTER])
def test_a_program_that_imports_cbam_ablate_composes_with_its_schema(tmp_path, version_base, imports):
    (tmp_path / "app.yaml").write_text("defaults: [cbam_ablate_schema, _self_]\nseed: 3\n")
    program = f"""{imports}
with initialize_config_dir({str(tmp_path)!r}, **{version_base}):
    cfg = compose("app", ["train.epochs=5"])
    print(cfg.seed, cfg.train.epochs, cfg.train.precision)
    compose("app", ["train.epochs=five"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "3 5 auto\n"
    assert "could not be converted to Integer" in done.stderr


def test_resolvers_of_a_program_are_as_it_registered_them(tmp_path, version_base):
    program = f"""from cbam_ablate import load_config
from hydra import initialize_config_dir
from omegaconf import OmegaConf
with initialize_config_dir({str(tmp_path)!r}, **{version_base}):
    OmegaConf.register_new_resolver("now", lambda text: f"its own {{text}}", replace=True)
    print(load_config(["seed=3"]).seed, OmegaConf.create({{"a": "${{now:x}}"}}).a)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "3 its own x\n", done.stderr
