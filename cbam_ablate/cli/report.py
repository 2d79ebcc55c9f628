"""cbam-ablate report study=NAME [store=FOLDER] [out=FOLDER] [table.NAME=VALUE ...] [figure.NAME=VALUE ...]

Writes <store>/studies/<study>/report.html, one self-contained file with the study's table, figures, failures,
runs and provenance, and the figures as PDF and PNG to figures/ beside it (figure.width=252pt,
figure.font=serif, figure.size=8, over what the study declares). The table is written too, with what the last
`table` was told. With out=FOLDER all goes there; without it, of a store that may only be read the table is
printed and nothing is written.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.aggregate.records import load_study
from cbam_ablate.cli.arguments import read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.config.canonical import from_dict
from cbam_ablate.report import render_terminal, write_table
from cbam_ablate.report.page import write_report
from cbam_ablate.report.write import told_before
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import unwritable


def main(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("study", "out"), ("table", "metrics", "figure"))
    store, study = take_study(values)
    out = values.pop("out", None)
    chosen = {
        name.removeprefix("figure."): values.pop(name) for name in [*values] if name.startswith("figure.")
    }
    images = partial(_test_images, store, study)
    if out is None and unwritable(store.study(study)):
        # Says why nothing is written.
        print(render_terminal(write_table(store.root, study, {**told_before(store.root, study), **values})))
        return 0
    print(write_report(store.root, study, values, out, chosen, images))
    return 0


def _test_images(store: RunStore, study: str) -> Callable[[int], NDArray[np.uint8]] | None:
    """The study's test images, where they are in the cache of this machine and are those of its runs."""
    for key in load_study(store.root, study).records:
        config, result = store.run(key).config(), store.run(key).result()
        if config is None or result is None:
            continue
        from cbam_ablate.data.loader import at_hand

        content, images = at_hand(from_dict(config).data) or (None, None)
        return images if content == result["provenance"].get("dataset_sha256") else None
    return None
