"""cbam-ablate table study=NAME [store=FOLDER] [table.NAME=VALUE ...]

Prints the study's table of whatever is done, and writes table.{md,tex,csv,json} to <store>/studies/<study>/.
"""

from cbam_ablate.cli.words import read_words
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.report import render_terminal, write_table
from cbam_ablate.runs import RunStore


def main(words: list[str]) -> int:
    values = read_words(words, ("study",), ("table",))
    store, study = RunStore(values.pop("store")), values.pop("study", None)
    folder = store.root / "studies"
    there = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    if study not in there:
        listed = f"; there are {', '.join(there)}" if there else "; it holds none"
        raise ConfigError(
            f"study={study or ''}: no such study in {folder}{listed} (cbam-ablate train study=... makes one)"
        )
    table = write_table(store.root, study, values)
    print(render_terminal(table))
    return 0
