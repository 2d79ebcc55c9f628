"""What the table shows, in sentences: what can be told apart, and how much each axis moves the result."""

from collections.abc import Callable

from cbam_ablate.aggregate.compare import TASK, Contest
from cbam_ablate.aggregate.metrics import widest
from cbam_ablate.aggregate.model import Difference, Effect, Quantity, Row, TableCell
from cbam_ablate.aggregate.names import Names, probability, rough

MOST_LISTED = 6


def find(
    rows: list[Row], quantities: list[Quantity], contest: Contest, moved: list[Effect], names: Names
) -> list[str]:
    """Sentences about what every compared metric shows, what it could have shown, and the clear effects."""
    results = compared(rows, quantities)
    if not results:
        return []
    flat = [_without_spread(row, found) for row, found in unsettled_rows(rows, results[0]) if found.sd == 0]
    if not contest.comparisons:
        why = (
            "rows differ by the same in every seed, which leaves no spread to test by"
            if contest.shared
            else "no two rows share two finished seeds"
        )
        return flat or [f"Nothing can be told apart: {why}."]
    sentences = [
        _verdict([rows[index] for index in group], quantity, contest, names)
        for quantity in results
        for group in contest.groups
        if sum(rows[index].cell(quantity.name).value is not None for index in group) > 1
    ]
    sentences += flat
    sentences += _sensitivity([found for _, found in unsettled_rows(rows, results[0])], results[0])
    clear = [effect for effect in moved if effect.significant]
    sentences += [_effect(effect, quantities, names) for effect in clear[:MOST_LISTED]]
    if len(clear) > MOST_LISTED:
        sentences.append(f"{len(clear) - MOST_LISTED} more effects are in table.json.")
    return sentences


def compared(rows: list[Row], quantities: list[Quantity]) -> list[Quantity]:
    """The measured results with a better direction, where there are rows to compare."""
    directed = [q for q in quantities if q.kind == "result" and q.better] if len(rows) > 1 else []
    return [q for q in directed if any(row.cell(q.name).value is not None for row in rows)]


def unsettled_rows(rows: list[Row], quantity: Quantity) -> list[tuple[Row, Difference]]:
    """The rows that don't differ from their baseline as far as is known."""
    pairs = [(row, row.cell(quantity.name).difference) for row in rows]
    return [(row, found) for row, found in pairs if found is not None and not found.significant]


def _verdict(rows: list[Row], quantity: Quantity, contest: Contest, names: Names) -> str:
    """Of rows that compete with one another."""
    cells = [row.cell(quantity.name) for row in rows]
    values = [cell.value for cell in cells if cell.value is not None]
    best = [label(row) for row, cell in zip(rows, cells, strict=True) if cell.best]
    apart = [label(row) for row, cell in zip(rows, cells, strict=True) if _differs(cell)]
    where = [
        f" on {names.axis(name)} {rows[0].labels[name]}" for name in rows[0].axes if name.startswith(TASK)
    ]
    verdict = f"{quantity.label}{''.join(where) if len(contest.groups) > 1 else ''}"
    if len(best) == len(values) and not apart:
        return (
            f"{verdict}: nothing can be told apart at 5 % "
            f"(paired t-tests, Holm over {contest.tested} comparison{'s' * (contest.tested != 1)})."
        )
    if len(best) == len(values):
        return (
            f"{verdict}: {_listed(apart)} differ{'s' * (len(apart) == 1)} from the baseline, "
            "but which is best can't be told."
        )
    if len(best) == 1:
        verdict += f": {best[0]} is best."
    else:
        verdict += f": the best can't be told apart: {_listed(best)}."
    ahead = _ahead(rows, quantity)
    return (
        f"{verdict} {_listed(ahead)}: a better mean, but worse on the seeds they share." if ahead else verdict
    )


def _ahead(rows: list[Row], quantity: Quantity) -> list[str]:
    """The rows that aren't among the best and have a better mean: of other seeds."""
    sign = 1 if quantity.better == "up" else -1
    known = [(row, row.cell(quantity.name)) for row in rows]
    scores = [(row, cell.best, sign * cell.value) for row, cell in known if cell.value is not None]
    most = max(score for _, best, score in scores if best)
    return [label(row) for row, best, score in scores if not best and score > most]


def _without_spread(row: Row, found: Difference) -> str:
    return (
        f"{label(row)}: its {found.n} differences to the baseline are all equal, "
        "which leaves no spread to test them by."
    )


def _differs(cell: TableCell) -> bool:
    return cell.difference is not None and cell.difference.significant


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - MOST_LISTED} more"] if len(names) > MOST_LISTED else []
    *most, last = [*names[:MOST_LISTED], *more]
    return f"{', '.join(most)} and {last}" if most else last


def _sensitivity(unsettled: list[Difference], quantity: Quantity) -> list[str]:
    sizes = sorted(found.smallest for found in unsettled if found.smallest is not None)
    there = [size for size in sizes if size <= widest(quantity.name, quantity.unit)]
    none = len(sizes) - len(there)
    if none and not there:
        counts = sorted({found.n for found in unsettled if found.smallest is not None})
        n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return [f"With n = {n} and these spreads no difference could have been shown with 80 % power."]
    if not there:
        return []
    ends = list(dict.fromkeys([rough(there[0]), rough(there[-1])]))
    return [
        "Smallest difference that these n and spreads could have shown with 80 % power: "
        f"{' to '.join(ends)}{unit_text(quantity, ends[-1])}"
        + f"; in {none} comparison{'s' * (none > 1)} none at all" * (none > 0)
        + "."
    ]


def _effect(effect: Effect, quantities: list[Quantity], names: Names) -> str:
    quantity = next(quantity for quantity in quantities if quantity.name == effect.quantity)
    steps = [
        f"{names.axis(axis)} {names.value(axis, level)} against {names.value(axis, against)}"
        for axis, level, against in zip(effect.axes, effect.levels, effect.against, strict=True)
    ]
    change = f"{rough(effect.value, '+')}{unit_text(quantity)}"
    low, high = (rough(bound, "+") for bound in effect.interval or (effect.value, effect.value))
    certain = f"[{low}, {high}], n = {effect.n}, p = {probability(effect.p_holm or 0)} after Holm"
    if len(steps) == 1:
        return (
            f"Main effect on {quantity.label}: {steps[0]} {change} {certain}, averaged over the other axes."
        )
    return f"Interaction on {quantity.label}: {steps[0]} gains {change} {certain}, with {steps[1]}."


def unit_text(quantity: Quantity, number: str = "") -> str:
    """The unit of a difference, after its number."""
    if quantity.unit == "%":
        return " point" if number.strip("+−-") == "1" else " points"
    return f" {quantity.unit}".rstrip()


def label(row: Row, words: Callable[[str], str] = str) -> str:
    """A row by its axis values, each in `words`."""
    parts = [words(text) for name, text in row.labels.items() if row.axes[name] is not None]
    return "/".join(parts) or "the only row"
