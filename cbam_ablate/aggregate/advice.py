"""How many more seeds would settle what is open, and the command that trains them."""

import shlex

from cbam_ablate.aggregate.findings import MOST_LISTED, compared, label, unit_text, unsettled_rows
from cbam_ablate.aggregate.model import Difference, Quantity, Row
from cbam_ablate.aggregate.names import rough
from cbam_ablate.aggregate.records import SEED, Study
from cbam_ablate.aggregate.statistics import MOST_SEEDS
from cbam_ablate.errors import ConfigError

MOST_OFFERED = 30
"""More seeds than this are not offered as a command."""
LEFT_OUT = ("seed=", "sweep.", "hydra/launcher=", "hydra.launcher.", "detach=")
"""How words of the command begin that say how and where it was run, or which seeds."""


def advise(study: Study, rows: list[Row], quantities: list[Quantity]) -> list[str]:
    """How many more seeds would settle what is open in the first metric, and the command that adds them."""
    results = compared(rows, quantities)
    if not results:
        return []
    if max(row.n for row in rows) < 2:
        return _offer(study, 2) if max(row.expected for row in rows) < 2 else []
    known = [(row, found) for row, found in unsettled_rows(rows, results[0]) if found.more_seeds is not None]
    sentences = [_seeds(row, found, results[0]) for row, found in known[:MOST_LISTED]]
    if len(known) > MOST_LISTED:
        sentences.append(f"{len(known) - MOST_LISTED} more open comparisons are in table.json.")
    fewest = [found.more_seeds[0] for _, found in known if found.more_seeds and found.more_seeds[0]]
    fewest += [1 for _, found in unsettled_rows(rows, results[0]) if found.sd == 0 and found.value]
    if fewest and min(fewest) <= MOST_OFFERED:
        sentences += _offer(study, min(fewest))
    return sentences


def _offer(study: Study, count: int) -> list[str]:
    command = more_command(study, count)
    return [f"To add {count} seed{'s' * (count > 1)}: {command}"] if command else []


def _seeds(row: Row, found: Difference, quantity: Quantity) -> str:
    few, many = found.more_seeds or (None, None)
    number = rough(abs(found.value))
    size = number + unit_text(quantity, number)
    if few is None:
        return f"{label(row)}: {size} would take over {MOST_SEEDS} seeds to resolve."
    upto = f"{few} to over {MOST_SEEDS}" if many is None else f"{few} to {many}" if many > few else f"{few}"
    return f"{label(row)}: {upto} more seed{'s' * (upto != '1')} would resolve {size} at 80 % power."


def more_command(study: Study, extra: int) -> str | None:
    """The command that adds so many seeds to each row; None for runs that no `train` command of ours made.

    Raises `ConfigError` for fewer seeds than one.
    """
    if extra < 1:
        raise ConfigError(f"{extra} more seeds: at least one")
    if study.command[1:2] != ["train"]:
        return None
    have = study.axes.get(SEED) or [study.constants.get(SEED, 0)]
    seeds = list(have)
    candidate = 0
    while len(seeds) < len(have) + extra:
        if candidate not in have:
            seeds.append(candidate)
        candidate += 1
    words = ["cbam-ablate"]
    words += [word for word in study.command[1:] if not word.startswith(LEFT_OUT)]
    if SEED not in study.axes and not any(
        word.startswith("study=") or word in ("-m", "--multirun") for word in words
    ):
        words.insert(min(2, len(words)), "-m")
    return shlex.join([*words, f"seed={','.join(map(str, seeds))}", "sweep.extend=true"])
