"""Published numbers that a study declares, beside its rows or as rows of their own, with their sources."""

from collections.abc import Iterable, Mapping
from typing import Any

from cbam_ablate.aggregate.layout import Setting
from cbam_ablate.aggregate.model import Published, Reference
from cbam_ablate.aggregate.options import Swept, axis_named, matches
from cbam_ablate.config.options import spell
from cbam_ablate.errors import ConfigError

FIELDS = {"label", "cite", "metric", "of", "values"}
FORM = (
    "{label: TEXT, cite: KEY, metric: NAME, of: {OPTION: VALUE}, values: [{AXIS: VALUE, ..., value: NUMBER}]}"
)
ROW_FORM = "{label: TEXT, cite: KEY, values: {METRIC: NUMBER}}"


def read_references(
    declared: list[Any], settings: list[Setting], swept: Swept, shown: list[str]
) -> tuple[list[Reference], list[str]]:
    """The references for these rows, and sentences about numbers that no row matches.

    `shown` are the table's quantities; references to others are left out, and so are those `of` another
    network or data set than any row's. None stands beside a row of a network that the study doesn't declare.
    Raises `ConfigError` for an entry of another form.
    """
    found, odd = [], []
    for entry in declared:
        items = reference_items(entry, swept)
        metric = str(entry.get("metric", shown[0]))
        if metric not in shown:
            odd.append(f"{entry['label']}: has numbers for {metric}, which is no column of this table.")
            continue
        texts, whole = [""] * len(settings), reference_of(entry, swept)
        of = [i for i, setting in enumerate(settings) if matches(setting.axes, whole, swept)]
        ours = [i for i in of if not settings[i].other_network]
        if not ours:
            theirs = f"its {_told(whole)}" if not of else "a network that the study declares"
            odd.append(f"{entry['label']}: left out, as no row is of {theirs}.")
            continue
        lost = []
        for wanted, value in items:
            rows = [i for i in ours if matches(settings[i].axes, wanted, swept)]
            for index in rows:
                texts[index] = str(value)
            if not rows:
                lost.append(f"{_told(wanted)}, {value}")
        if lost:
            many = f" {len(lost)} of its {len(items)} numbers:" if len(lost) > 1 else ""
            more = "; ..." if len(lost) > 2 else ""
            odd.append(f"{entry['label']}: no row for{many} {'; '.join(lost[:2])}{more}.")
        cite = str(entry.get("cite") or "")
        found.append(Reference(label=str(entry["label"]), cite=cite, quantity=metric, values=texts))
    return found, odd


def _told(wanted: dict[str, Any]) -> str:
    return ", ".join(f"{name} {spell(level)}" for name, level in wanted.items())


def _options(wanted: Any, swept: Swept) -> dict[str, Any]:
    if not isinstance(wanted, dict):
        raise ConfigError(f"table.references: of: {wanted!r:.80} is not of the form {{OPTION: VALUE}}")
    return {axis_named("references", str(name), swept): value for name, value in wanted.items()}


def reference_of(entry: Mapping[str, Any], swept: Swept) -> dict[str, Any]:
    """The options of the network and data that all of a reference's numbers are of."""
    return _options(entry.get("of", {}), swept)


def reference_items(entry: Any, swept: Swept) -> list[tuple[dict[str, Any], Any]]:
    """A reference's numbers, each with the axis values that it is for. Raises `ConfigError`."""
    if not isinstance(entry, dict) or not {"label", "values"} <= set(entry) <= FIELDS:
        raise ConfigError(f"table.references: {entry!r:.80} is not of the form {FORM}")
    found = []
    for item in entry["values"] if isinstance(entry["values"], list) else [entry["values"]]:
        if not isinstance(item, dict) or "value" not in item:
            raise ConfigError(f"table.references: {item!r:.80} has no value; the form is {FORM}")
        place = {name: value for name, value in item.items() if name != "value"}
        found.append((_options(place, swept), item["value"]))
    return found


def read_published(
    declared: list[Any], swept: Swept, shown: list[str], across: list[str]
) -> tuple[list[Published], list[str]]:
    """The rows of methods that weren't run, and sentences about numbers that have no place in the table.

    `across` are the axes whose values a number needs. Raises `ConfigError` for an entry of another form.
    """
    found, odd = [], []
    for entry in declared:
        cells = []
        for place, metric, value in published_items(entry, swept):
            if metric not in shown:
                odd.append(f"{entry['label']}: has a number for {metric}, which is no column of this table.")
            elif set(across) - set(place):
                missing = ", ".join(name for name in across if name not in place)
                odd.append(f"{entry['label']}: {value} is left out, as it doesn't say of which {missing}.")
            else:
                own = {name: level for name, level in place.items() if name in across}
                cells.append({"axes": own, "quantity": metric, "value": str(value)})
        if cells:
            found.append(Published(label=str(entry["label"]), cite=str(entry.get("cite") or ""), cells=cells))
    return found, odd


def published_items(entry: Any, swept: Swept) -> Iterable[tuple[dict[str, Any], str, Any]]:
    """The numbers of a row that wasn't run: axis values, metric, number. Raises `ConfigError`."""
    if not isinstance(entry, dict) or not {"label", "values"} <= set(entry) <= {"label", "cite", "values"}:
        raise ConfigError(f"table.published: {entry!r:.80} is not of the form {ROW_FORM}")
    for item in entry["values"] if isinstance(entry["values"], list) else [entry["values"]]:
        if not isinstance(item, dict):
            raise ConfigError(f"table.published: {item!r:.80} is not of the form {ROW_FORM}")
        place, numbers = {}, {}
        for name, value in item.items():
            try:
                place[axis_named("published", str(name), swept)] = value
            except ConfigError:
                numbers[str(name)] = value
        yield from ((place, metric, value) for metric, value in numbers.items())
