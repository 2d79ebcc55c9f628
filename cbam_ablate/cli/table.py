"""cbam-ablate table study=NAME [store=FOLDER] [out=FOLDER] [table.NAME=VALUE ...] [--check]
   cbam-ablate table study=NAME of=plan [out=FOLDER] [name=value ...]

Prints the study's table of whatever is done, and writes table.{md,tex,csv,html,json} to
<store>/studies/<study>/, or with out=FOLDER there. The study's file is read as it is now; what is said here
stays for `report`. With --check (or table.check=true) nothing is written: the table that is there is
made again from its runs, and the command fails if a digit has changed.
With of=plan nothing has to be trained: the parameters and MACs of the networks that the study plans, and with
out=FOLDER the same files there.
"""

from pathlib import Path

from cbam_ablate.cli import fail
from cbam_ablate.cli.arguments import read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.errors import ConfigError
from cbam_ablate.report import check_table, render_terminal, write_table

OF_PLAN = "of=plan"
CHECK = ("--check", "table.check=true")


def main(arguments: list[str]) -> int:
    if OF_PLAN in arguments:
        return _of_plan([text for text in arguments if text != OF_PLAN])
    plain = [text for text in arguments if text not in (*CHECK, "table.check=false")]
    unknown = [text for text in plain if text.startswith("-")]
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such flag; there are --check and --help")
    values = read_arguments(plain, ("study", "out"), ("table", "metrics"))
    store, study = take_study(values)
    out = values.pop("out", None)
    if any(text in CHECK for text in arguments):
        if values or out:
            raise ConfigError(f"{next(iter(values), 'out')}: a table is checked with its own options")
        changed = check_table(store.root, study)
        if changed:
            return fail(f"the table of {study} has changed:\n" + "\n".join(changed))
        print(f"{store.study(study) / 'table.json'}: as its runs give it")
        return 0
    print(render_terminal(write_table(store.root, study, values, out)))
    return 0


def _of_plan(texts: list[str]) -> int:
    out = next((text.removeprefix("out=") for text in texts if text.startswith("out=")), None)
    from cbam_ablate.report.write import write_made
    from cbam_ablate.sweep.outline import make_outline
    from cbam_ablate.sweep.plan import plan_outline
    from cbam_ablate.sweep.planned import planned_table

    asked = make_outline([text for text in texts if not text.startswith("out=")])
    table = planned_table(plan_outline(asked))
    if out is not None:
        write_made(table, Path(out).expanduser(), "")
    print(render_terminal(table))
    return 0
