"""Published numbers that a study declares beside its own, each with where it comes from."""

from typing import Any

from cbam_ablate.aggregate.layout import Setting
from cbam_ablate.aggregate.model import Reference
from cbam_ablate.aggregate.options import axis_named, matches
from cbam_ablate.aggregate.records import Study
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.overrides import spell

FIELDS = {"label", "cite", "metric", "values"}
FORM = "{label: TEXT, cite: KEY, metric: NAME, values: [{AXIS: VALUE, ..., value: NUMBER}]}"


def read_references(
    declared: list[Any], settings: list[Setting], study: Study, shown: list[str]
) -> tuple[list[Reference], list[str]]:
    """The references for these rows, and sentences about numbers that no row matches.

    `shown` are the table's quantities; references to others are left out. Raises `ConfigError` for an entry
    of another form.
    """
    found, odd = [], []
    for entry in declared:
        if not isinstance(entry, dict) or not {"label", "values"} <= set(entry) <= FIELDS:
            raise ConfigError(f"table.references: {entry!r:.80} is not of the form {FORM}")
        metric = str(entry.get("metric", shown[0]))
        if metric not in shown:
            odd.append(f"{entry['label']}: has numbers for {metric}, which is no column of this table.")
            continue
        texts = [""] * len(settings)
        for item in entry["values"]:
            if not isinstance(item, dict) or "value" not in item:
                raise ConfigError(f"table.references: {item!r:.80} has no value; the form is {FORM}")
            wanted = {axis_named("references", str(n), study): v for n, v in item.items() if n != "value"}
            rows = [i for i, setting in enumerate(settings) if matches(setting.axes, wanted, study)]
            for index in rows:
                texts[index] = str(item["value"])
            if not rows:
                place = ", ".join(f"{name} {spell(value)}" for name, value in item.items() if name != "value")
                odd.append(f"{entry['label']}: no row for {place}, {item['value']}.")
        cite = str(entry.get("cite") or "")
        found.append(Reference(label=str(entry["label"]), cite=cite, quantity=metric, values=texts))
    return found, odd
