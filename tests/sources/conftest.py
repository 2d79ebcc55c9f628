import json
from types import SimpleNamespace

import pytest

from cbam_ablate.cli import import_
from cbam_ablate.report import check_table
from cbam_ablate.sources import Wanted
from cbam_ablate.sources.load import load


@pytest.fixture
def found():
    """`load` with what was asked of the source: the manifest's axes, its notes, and numbers by axes."""

    def run(source, kind="", **wanted):
        study = load(str(source), "study", Wanted(**wanted), kind)
        metric = study.manifest["table"]["metrics"][0]
        values = {run.key: run.values.get(metric) for run in study.runs}
        return SimpleNamespace(
            axes=list(study.manifest["axes"]),
            notes="\n".join(study.notes),
            metric=metric,
            runs=study.runs,
            manifest=study.manifest,
            values={tuple(cell["axes"].values()): values[cell["key"]] for cell in study.manifest["cells"]},
        )

    return run


@pytest.fixture
def imported(tmp_path, capsys):
    """`cbam-ablate import` in this process: what it printed, and the model of the table that it wrote."""

    def run(source, *words, study="study"):
        assert import_.main([str(source), f"study={study}", f"store={tmp_path}", *words]) == 0
        root = tmp_path / "imported" / study
        assert check_table(root, study) == []
        table = json.loads((root / "studies" / study / "table.json").read_text())
        return SimpleNamespace(out=capsys.readouterr().out, root=root, table=table)

    return run
