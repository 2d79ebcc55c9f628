"""cbam-ablate report study=NAME [store=FOLDER] [table.NAME=VALUE ...]

Writes <store>/studies/<study>/report.html, one self-contained file with the study's table, figures, failures,
runs and provenance, and the figures as PDF and PNG to figures/ beside it. The table is written too.
"""

from cbam_ablate.cli.arguments import read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.report.page import write_report


def main(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("study",), ("table", "metrics"))
    store, study = take_study(values)
    print(write_report(store.root, study, values))
    return 0
