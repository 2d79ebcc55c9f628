"""Published numbers that a study declares beside its own, each with where it comes from."""

from typing import Any

from cbam_ablate.aggregate.layout import Setting
from cbam_ablate.aggregate.model import Reference
from cbam_ablate.aggregate.names import same
from cbam_ablate.aggregate.options import axis_named
from cbam_ablate.config.errors import ConfigError

FORM = "{label: TEXT, cite: KEY, metric: NAME, values: [{AXIS: VALUE, ..., value: NUMBER}]}"


def read_references(
    declared: list[Any], settings: list[Setting], axes: list[str], shown: list[str]
) -> tuple[list[Reference], list[str]]:
    """The references for these rows, and sentences about numbers that no row matches.

    `shown` are the table's quantities. Raises `ConfigError` for an entry of another form.
    """
    found, odd = [], []
    for entry in declared:
        if not isinstance(entry, dict) or not {"label", "values"} <= set(entry) <= {
            "label",
            "cite",
            "metric",
            "values",
        }:
            raise ConfigError(f"table.references: {entry!r:.80} is not of the form {FORM}")
        metric = str(entry.get("metric", shown[0]))
        if metric not in shown:
            raise ConfigError(f"table.references: {metric} is no column of this table ({', '.join(shown)})")
        texts = [""] * len(settings)
        for item in entry["values"]:
            if not isinstance(item, dict) or "value" not in item:
                raise ConfigError(
                    f"table.references: {item!r:.80} is not of the form {{AXIS: VALUE, value: NUMBER}}"
                )
            wanted = {axis_named("references", str(n), axes): v for n, v in item.items() if n != "value"}
            rows = [
                index
                for index, setting in enumerate(settings)
                if all(same(setting.axes[name], value) for name, value in wanted.items())
            ]
            for index in rows:
                texts[index] = str(item["value"])
            if not rows:
                odd.append(f"{entry['label']}: no row for its {item['value']} ({wanted}).")
        found.append(Reference(str(entry["label"]), str(entry.get("cite") or ""), metric, texts))
    return found, odd
