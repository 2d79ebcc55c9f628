"""The report's own tables: their places, the comparisons and the effects."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from markupsafe import Markup

from cbam_ablate.aggregate import Table
from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.model import Difference, Effect
from cbam_ablate.aggregate.names import rough
from cbam_ablate.aggregate.statistics import MOST_SEEDS
from cbam_ablate.config.options import spell
from cbam_ablate.report import digits
from cbam_ablate.report.figures import value_texts
from cbam_ablate.report.markup import plain


class Item(NamedTuple):
    """One place of a sortable table: class, text or markup, and the number it sorts by."""

    kind: str
    text: str
    value: float | None = None


Lines = list[list[Item]]


def with_sign(lines: Lines, words: Callable[[str], str]) -> Lines:
    """The lines with the table's decimal sign."""
    return [
        [one if isinstance(one.text, Markup) else one._replace(text=words(one.text)) for one in line]
        for line in lines
    ]


def comparisons_of(table: Table) -> tuple[list[str], Lines]:
    """Every difference to a baseline with all that is known of it."""
    lines: Lines = []
    for row in table.rows:
        for quantity in table.quantities:
            found = row.cell(quantity.name).difference
            if found is None:
                continue
            shown = digits.of_differences([found], quantity.unit, digits.exponent_of([found.value]), None)
            text = digits.difference(found, shown) + (f" {shown.heading}" if shown.heading else "")
            numbered = [found.p, found.p_holm, found.d_z, found.hedges_g]
            lines.append(
                [
                    Item("text", label(row, plain)),
                    Item("label", plain(quantity.label)),
                    Item("", text + " *" * found.significant, found.value),
                    Item("", str(found.n), found.n),
                    *(Item("", "" if value is None else rough(value), value) for value in numbered),
                    Item("", digits.could_show(found, quantity), found.smallest),
                    Item("", _seeds(found)),
                ]
            )
    heads = ["row", "result", "difference to the baseline [95 % interval]", "pairs", "p", "p after Holm"]
    return [*heads, "d_z", "Hedges' g", "could have shown", "more seeds"], lines


def _seeds(found: Difference) -> str:
    if found.more_seeds is None:
        return ""
    few, many = (f"over {MOST_SEEDS}" if total is None else str(total) for total in found.more_seeds)
    return few if few == many else f"{few} to {many}"


def effects_of(table: Table) -> tuple[list[str], Lines]:
    names = {axis.name: plain(axis.label) for axis in table.axes}
    texts = {name: value_texts(table, name) for name in names}
    labels = {quantity.name: plain(quantity.label) for quantity in table.quantities}
    lines = [
        [
            Item("label", labels[effect.quantity]),
            Item("text", " × ".join(names[axis] for axis in effect.axes)),
            Item("text", _contrast(texts, effect)),
            Item("", _size(effect), effect.value),
            Item("", str(effect.n), effect.n),
            Item("", "" if effect.p_holm is None else f"{effect.p_holm:.2g}", effect.p_holm),
        ]
        for effect in table.effects
    ]
    return ["result", "effect", "levels", "size [95 % interval]", "seeds", "p after Holm"], lines


def _contrast(texts: Mapping[str, Mapping[str, str]], effect: Effect) -> str:
    return "; ".join(
        f"{texts[axis][spell(level)]} against {texts[axis][spell(against)]}"
        for axis, level, against in zip(effect.axes, effect.levels, effect.against, strict=True)
    )


def _size(effect: Effect) -> str:
    if effect.interval is None:
        return digits.fixed(effect.value, 2, signed=True)
    decimals = digits.decimals_of((effect.interval[1] - effect.interval[0]) / 2)
    low, high = (digits.fixed(bound, decimals, signed=True) for bound in effect.interval)
    star = " *" if effect.significant else ""
    return f"{digits.fixed(effect.value, decimals, signed=True)} [{low}, {high}]{star}"
