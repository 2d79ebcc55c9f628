"""Numbers as people write them: as many digits as their uncertainty carries, and no more."""

import math

from cbam_ablate.aggregate.model import Cell, Difference, Quantity

MINUS = "−"
UNCERTAIN = {"%": 2}
"""Decimals of a value without a spread: a test set of 10,000 images resolves 0.01 %."""


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


def result(cell: Cell, unit: str) -> str:
    """`45.1 ± 0.8`; without ± for a single seed, empty without a value."""
    if cell.value is None:
        return ""
    if cell.sd is None:
        return fixed(cell.value, UNCERTAIN.get(unit, 4))
    decimals = decimals_of(cell.sd) if cell.sd > 0 else UNCERTAIN.get(unit, 4)
    return f"{fixed(cell.value, decimals)} ± {fixed(cell.sd, decimals)}"


def difference(found: Difference, unit: str) -> str:
    """`+0.5 [−0.2, +1.2]`, the interval left out for a single pair."""
    if found.interval is None:
        return fixed(found.value, UNCERTAIN.get(unit, 4), signed=True)
    half = (found.interval[1] - found.interval[0]) / 2
    decimals = max(1, decimals_of(half)) if half > 0 else UNCERTAIN.get(unit, 4)
    low, high = (fixed(bound, decimals, signed=True) for bound in found.interval)
    return f"{fixed(found.value, decimals, signed=True)} [{low}, {high}]"


def cost(value: float | None, name: str) -> str:
    """A measured cost with its unit."""
    if value is None:
        return ""
    if name == "params":
        return f"{value:,.0f}"
    if name == "macs":
        return _scaled(value, (("G", 1e9), ("M", 1e6), ("k", 1e3)), "")
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


def _scaled(value: float, units: tuple[tuple[str, float], ...], base: str) -> str:
    for unit, size in units:
        if value >= 0.99995 * size:
            scaled = value / size
            return f"{scaled:.{max(0, 4 - len(str(int(scaled))))}f} {unit}"
    return f"{value:.0f}{base}"


def heading(quantity: Quantity) -> str:
    """A column's heading with its unit and which way is better."""
    arrow = {"up": " ↑", "down": " ↓"}.get(quantity.better, "") if quantity.kind == "result" else ""
    unit = f" ({quantity.unit})" if quantity.unit and quantity.kind == "result" else ""
    return f"{quantity.label}{unit}{arrow}"
