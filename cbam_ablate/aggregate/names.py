"""Printed names: of axes, values, metrics and constants."""

from collections.abc import Iterable, Mapping
from typing import Any

from cbam_ablate.config.options import ALIASES, GROUP_OF, long_name, short_name, spell

NO_EFFECT = "–"


def rough(value: float, sign: str = "") -> str:
    """A number to two digits, from 100 on to whole ones, with a true minus sign."""
    text = f"{value:{sign}.2g}" if abs(value) < 99.5 else f"{value:{sign}.0f}"
    return text.replace("-", "−")


def probability(p: float) -> str:
    """A p-value to two digits."""
    return "below 0.0001" if p < 1e-4 else f"{p:.2g}"


class Names:
    """Labels from `table.labels` by `axis=value`, axis, value or metric, else the field's own words."""

    def __init__(self, labels: Mapping[str, Any], dotted: Iterable[str]) -> None:
        self._labels = flat_labels(labels)
        self._used: set[str] = set()
        self._covered: dict[str, str] = {}
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
        names = [f"{name}{sign}{text}" for name in _spellings(dotted) for sign in "=."]
        # A bare number or truth value is one of the swept ones: in the caption it would name anything.
        if isinstance(value, str) or dotted in self._dotted:
            names.append(text)
        return self._label(names) or text

    def metric(self, name: str, default: str) -> str:
        return self._label([name]) or default

    def _label(self, names: Iterable[str]) -> str | None:
        found = [name for name in names if name in self._labels]
        if not found:
            return None
        self._used.add(found[0])
        self._covered |= dict.fromkeys(found[1:], found[0])
        return self._labels[found[0]]

    def unused(self, axes: Mapping[str, Iterable[Any]], metrics: Iterable[str]) -> list[str]:
        """A sentence for each label of something that the study doesn't have, or that has a label already."""
        known = {*self._used, *metrics}
        for dotted, values in axes.items():
            known.update(_spellings(dotted))
            for value in values:
                text = spell(value)
                known.update([text, *(f"{name}{sign}{text}" for name in _spellings(dotted) for sign in "=.")])
        return [
            *(
                f"table.labels.{name}: this study has no axis, value or metric of that name."
                for name in self._labels
                if name not in known and name not in self._covered
            ),
            *(
                f"table.labels.{name}: table.labels.{other} counts instead."
                for name, other in self._covered.items()
                if name not in self._used
            ),
        ]


def flat_labels(labels: Mapping[Any, Any], prefix: str = "") -> dict[str, str]:
    """Labels by name; an axis's own mapping names its values, as in {reduction: {16: r is 16}}."""
    found: dict[str, str] = {}
    for name, text in labels.items():
        key = f"{prefix}{spell(name)}"
        if isinstance(text, Mapping):
            found |= flat_labels(text, f"{key}.")
        else:
            found[key] = spell(text)
    return found


def _spellings(dotted: str) -> list[str]:
    group = GROUP_OF.get(dotted)
    return [dotted, *([group] if group else []), dotted.rpartition(".")[2]]


def find_axis(name: str, axes: Iterable[str]) -> str | None:
    """The swept axis meant by a dotted name, a group's name or the last part of a dotted name."""
    known = list(axes)
    dotted = ALIASES.get(name, long_name(name))
    if dotted in known:
        return dotted
    found = [axis for axis in known if axis.rpartition(".")[2] == name]
    return found[0] if len(found) == 1 else None
