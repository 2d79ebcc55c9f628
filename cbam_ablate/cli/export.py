"""cbam-ablate export study=NAME [to=FOLDER] [store=FOLDER]

Packs a study's configs, histories, results and table, without checkpoints, into one small folder
(results/<study> unless told otherwise) that is laid out like a store:
cbam-ablate table study=NAME store=results/NAME --check
"""

import os

from cbam_ablate.cli.arguments import read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.report.export import export_study


def main(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("study", "to"))
    target = values.pop("to", None)
    store, study = take_study(values)
    folder = export_study(store.root, study, target)
    size = sum(os.stat(f"{at}/{name}").st_size for at, _, names in os.walk(folder) for name in names)
    print(f"{folder} ({size / 2**20:.1f} MiB)")
    return 0
