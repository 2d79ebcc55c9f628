"""Printed names: of axes, values, metrics and constants."""

from collections.abc import Iterable, Mapping
from typing import Any

from cbam_ablate.config.overrides import ALIASES, GROUP_OF, short_name, spell

NO_EFFECT = "–"


def rough(value: float, sign: str = "") -> str:
    """A number to two digits, from 100 on to whole ones, with a true minus sign."""
    text = f"{value:{sign}.2g}" if abs(value) < 99.5 else f"{value:{sign}.0f}"
    return text.replace("-", "−")


class Names:
    """Labels from `table.labels` by `axis=value`, axis, value or metric, else the field's own words."""

    def __init__(self, labels: Mapping[str, Any], dotted: Iterable[str]) -> None:
        self._labels = {str(name): str(text) for name, text in labels.items()}
        self._dotted = list(dotted)

    def axis(self, dotted: str) -> str:
        """Its group's name where it has one, else the last part, or all of it where that is ambiguous."""
        label = self._label(_spellings(dotted))
        if label is not None:
            return label
        return short_name(dotted, self._dotted).replace("_", " ")

    def value(self, dotted: str, value: Any) -> str:
        if value is None:
            return NO_EFFECT
        text = spell(value)
        return self._label([*(f"{name}={text}" for name in _spellings(dotted)), text]) or text

    def metric(self, name: str, default: str) -> str:
        return self._label([name]) or default

    def _label(self, names: Iterable[str]) -> str | None:
        return next((self._labels[name] for name in names if name in self._labels), None)


def _spellings(dotted: str) -> list[str]:
    group = GROUP_OF.get(dotted)
    return [dotted, *([group] if group else []), dotted.rpartition(".")[2]]


def find_axis(name: str, axes: Iterable[str]) -> str | None:
    """The swept axis meant by a dotted name, a group's name or the last part of a dotted name."""
    known = list(axes)
    dotted = ALIASES.get(name, name)
    if dotted in known:
        return dotted
    found = [axis for axis in known if axis.rpartition(".")[2] == name]
    return found[0] if len(found) == 1 else None
