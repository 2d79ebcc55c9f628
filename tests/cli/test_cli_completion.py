"""Words completed in a shell, by a real bash."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cbam_ablate.cli.completion import complete


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cbam-ablate pl", ["plan "]),
        ("cbam-ablate train backb", ["backbone="]),
        ("cbam-ablate train -m kernel=", ["3", "5", "7", "9"]),
        ("cbam-ablate train -m depth=18,3", ["18,32", "18,34"]),
        ("cbam-ablate plan study=reduction_kernel_", ["reduction_kernel_resnet20"]),
        ("cbam-ablate train model.attention.order=sp", ["spatial_first", "spatial_only"]),
        ("cbam-ablate train optimizer.nesterov=", ["true", "false"]),
        ("cbam-ablate train hydra/launcher=sub", ["submitit_local", "submitit_slurm"]),
        ("cbam-ablate train optimizer.lr=", []),
    ],
)
def test_a_word_becomes_what_it_could_be(line, found):
    assert complete(line) == found


def test_a_command_on_a_store_is_offered_its_studies(stand_in, monkeypatch, tmp_path):
    (tmp_path / "outputs" / "studies" / "mine").mkdir(parents=True)
    (tmp_path / "outputs" / "studies" / "mine" / "manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert complete("cbam-ablate table study=") == ["mine"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes_a_choice_after_the_installed_line(tmp_path):
    program = tmp_path / "cbam-ablate"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cbam_ablate "$@"\n')
    program.chmod(0o755)
    asked = (
        f'PATH={tmp_path}:$PATH; eval "$(cbam-ablate -sc install=bash)"; '
        'COMP_LINE="cbam-ablate train kernel=" COMP_POINT=25; '
        '_cbam_ablate; echo "${COMPREPLY[*]}"; complete -p cbam-ablate'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=300, cwd=Path.cwd())
    assert done.stdout.split("\n")[0].split() == ["3", "5", "7", "9"], done.stderr
    assert "_cbam_ablate" in done.stdout
