"""Numbers as people write them: as many digits as their uncertainty carries, and no more."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cbam_ablate.aggregate.metrics import widest
from cbam_ablate.aggregate.model import Difference, Quantity, TableCell
from cbam_ablate.aggregate.names import rough

MINUS = "−"
UNCERTAIN = {"%": 2}
"""Decimals of a value without a spread: a test set of 10,000 images resolves 0.01 %."""
TINY = 1e-3
"""Numbers that are all smaller are printed with a power of ten in their heading."""
SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def decimals_of(uncertainty: float) -> int:
    """Decimals that show an uncertainty with one significant digit, two where it starts with 1 or 2."""
    if uncertainty <= 0 or not math.isfinite(uncertainty):
        return 2
    exponent = math.floor(math.log10(uncertainty))
    digits = 1 if uncertainty / 10**exponent < 2.95 else 0
    # 0.096 rounds up to 0.10, which is a one and then needs its second digit.
    rounded = round(uncertainty, digits - exponent)
    if rounded >= 10 ** (exponent + 1):
        digits, exponent = 1, exponent + 1
    return max(0, min(6, digits - exponent))


def fixed(value: float, decimals: int, signed: bool = False) -> str:
    """A decimal number with a true minus sign, and never a negative zero."""
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" * signed) + text


class Digits(NamedTuple):
    """How a column prints its numbers: so many decimals, of numbers divided by 10 to the `exponent`."""

    decimals: int
    exponent: int = 0

    def text(self, value: float, signed: bool = False) -> str:
        return fixed(value / 10**self.exponent, self.decimals, signed)

    @property
    def heading(self) -> str:
        """What stands in the column's heading, so that a reader multiplies."""
        return f"×10{str(self.exponent).translate(SUPERSCRIPT)}" if self.exponent else ""


def of_results(
    cells: Sequence[TableCell], unit: str, wanted: int | None = None, spread: str = "sd"
) -> Digits:
    """The digits of a column of results: by the smallest spread that is not far below the others."""
    exponent = exponent_of([cell.value for cell in cells if cell.value is not None])
    spreads = [half_width(cell, spread) for cell in cells]
    return _digits(spreads, exponent, UNCERTAIN.get(unit, 4), wanted)


def of_differences(found: Sequence[Difference], unit: str, exponent: int, wanted: int | None) -> Digits:
    """The digits of a column of differences, by their intervals."""
    halves = [(one.interval[1] - one.interval[0]) / 2 for one in found if one.interval]
    return _digits(halves, exponent, UNCERTAIN.get(unit, 4), wanted, least=1)


def _digits(
    spreads: Sequence[float], exponent: int, without: int, wanted: int | None, least: int = 0
) -> Digits:
    scaled = sorted(value / 10**exponent for value in spreads if value > 0)
    if wanted is not None:
        return Digits(wanted, exponent)
    if not scaled:
        return Digits(without, exponent)
    typical = decimals_of(scaled[len(scaled) // 2])
    return Digits(max(least, min(decimals_of(scaled[0]), typical + 1)), exponent)


def exponent_of(values: Sequence[float]) -> int:
    """The power of ten that tiny numbers are printed in; 0 for others."""
    largest = max((abs(value) for value in values), default=0.0)
    return math.floor(math.log10(largest)) if 0 < largest < TINY else 0


def half_width(cell: TableCell, spread: str) -> float:
    """What stands beside a mean: standard deviation, standard error, or half of the 95 % interval."""
    if cell.sd is None:
        return 0.0
    if spread == "se":
        return cell.sd / math.sqrt(cell.n)
    return (cell.interval[1] - cell.interval[0]) / 2 if spread == "ci" and cell.interval else cell.sd


def result(cell: TableCell, digits: Digits, spread: str = "sd") -> str:
    """`45.1 ± 0.8`, or `45.1 [44.0, 46.2]`; the mean alone for a single seed, empty without a value."""
    if cell.value is None:
        return ""
    mean = digits.text(cell.value)
    if cell.sd is None or (spread == "ci" and cell.interval is None):
        return mean
    if spread == "ci" and cell.interval is not None:
        return f"{mean} [{digits.text(cell.interval[0])}, {digits.text(cell.interval[1])}]"
    return f"{mean} ± {digits.text(half_width(cell, spread))}"


def difference(found: Difference, digits: Digits) -> str:
    """`+0.5 [−0.2, +1.2]`, the interval left out for a single pair; over how many pairs where some miss."""
    text = digits.text(found.value, signed=True)
    if found.interval is not None:
        low, high = (digits.text(bound, signed=True) for bound in found.interval)
        text += f" [{low}, {high}]"
    return text if found.n == found.seeds else f"{text} ({found.n} of {found.seeds} pairs)"


def could_show(found: Difference, quantity: Quantity) -> str:
    """The smallest difference that n and spread could have shown, or that there is none."""
    if found.smallest is None:
        return ""
    return rough(found.smallest) if found.smallest <= widest(quantity.name, quantity.unit) else "none"


def cost(value: float | None, name: str) -> str:
    """A measured cost with its unit."""
    if value is None:
        return ""
    if name == "params":
        return f"{value:,.0f}"
    if name == "macs":
        return _scaled(value)
    if name == "train_seconds":
        return duration(value)
    if name == "latency_ms":
        return f"{value:.3g} ms"
    if name in ("peak_memory_mib", "infer_memory_mib"):
        return f"{value / 1024:.1f} GiB" if value >= 1024 else f"{value:.0f} MiB"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _scaled(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.99995 * size:
            scaled = value / size
            return f"{scaled:.{max(0, 4 - len(str(int(scaled))))}f} {unit}"
    return f"{value:.0f}"


def heading(quantity: Quantity, digits: Digits | None = None) -> str:
    """A column's heading with its unit and which way is better."""
    arrow = {"up": "↑", "down": "↓"}.get(quantity.better, "") if quantity.kind == "result" else ""
    title = quantity.title if quantity.kind == "result" else quantity.label
    return " ".join(filter(None, [title, digits.heading if digits else "", arrow]))
