"""What runs and sweeps do, and don't do, before the first step."""

import subprocess
import sys

import pytest

from cbam_ablate.data import synthetic
from cbam_ablate.sweep.plan import make_plan
from cbam_ablate.sweep.run import run_plan

CODE = """
import gc, sys
import cbam_ablate.sweep.preload
unneeded = sorted({"hydra", "rich", "cbam_ablate.sweep.plan"} & set(sys.modules))
from cbam_ablate.config import load_config
from cbam_ablate.sweep.job import run_one
print(unneeded, gc.isenabled(), gc.get_freeze_count() > 100_000)
imported = set(sys.modules)
print(run_one(load_config(sys.argv[1:])).name)
print(sorted(name for name in set(sys.modules) - imported if name.startswith("cbam_ablate.")))
"""
OWN = """
import gc
from torch.nn.functional import cross_entropy

def noted(logits, labels):
    print("collects:", gc.isenabled())
    return cross_entropy(logits, labels)
"""


@pytest.mark.slow
def test_jobs_have_imported_what_all_need_and_no_more_and_collect_cycles(tiny, tmp_path):
    words = [*tiny, "placement=block", f"store={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True)
    before, state, imported = done.stdout.splitlines()
    assert (before, state) == ("[] True True", "finished"), done.stderr
    assert imported == "['cbam_ablate.data.synthetic', 'cbam_ablate.models.backbones.resnet_cifar']"


def test_a_run_that_a_command_trains_itself_collects_cycles(cli, tiny, tmp_path):
    (tmp_path / "my_loss.py").write_text(OWN)
    done = cli("train", *tiny, "train.epochs=1", "loss=my_loss:noted", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "collects: True" in done.stdout


def test_a_sweep_leaves_it_to_its_jobs_to_make_the_generated_images(tiny, tmp_path):
    synthetic._made.cache_clear()
    plan = make_plan([*tiny, "seed=0,1", f"store={tmp_path}"])
    given = []
    run_plan(plan, lambda path, keys: given.extend(keys), [])
    assert given[:2] == list(plan.runs)
    assert synthetic._made.cache_info().currsize == 0
