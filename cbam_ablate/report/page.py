"""The report: one self-contained HTML file with a study's tables, figures, failures, runs and provenance."""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from cbam_ablate.aggregate import Record, Study, Table, load_study
from cbam_ablate.aggregate.classes import AXIS
from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.metrics import COSTS
from cbam_ablate.aggregate.model import Quantity, Row
from cbam_ablate.aggregate.notes import FACTS
from cbam_ablate.aggregate.records import SEED
from cbam_ablate.aggregate.study_file import figures_now
from cbam_ablate.config.options import short_name, spell
from cbam_ablate.report import classes, comma, plots
from cbam_ablate.report.compared import Item, Lines, comparisons_of, effects_of, with_sign
from cbam_ablate.report.grid import Grid
from cbam_ablate.report.lay_out import lay_out
from cbam_ablate.report.learning import Curve, curve_in, curve_of
from cbam_ablate.report.markup import Sentences, plain
from cbam_ablate.report.table_html import fill, fragment, page
from cbam_ablate.report.write import folder_of, table_of, told_before, write_table
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import write_text

MOST_CURVES = 600
"""Runs up to which each one's curve and config stand in the page; beyond, its files are linked."""
POINTS = 60


def write_report(
    store: Path | str,
    study: str,
    values: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    style: Mapping[str, Any] | None = None,
    images: classes.Images = lambda: None,
) -> Path:
    """Writes report.html, figures/*.{pdf,png} and the table to the study's folder, or to `out`.

    `values` are table options over those that the last `table` was told, `style` those of figures over what
    the study declares. `images` gives the test images, of which mistakes are shown, where they are at hand.
    Returns the page's path. Raises `ConfigError` for options that don't fit the study.
    """
    values = {**told_before(store, study, out), **(values or {})}
    table = write_table(store, study, values, out)
    loaded = load_study(store, study)
    found, folder = RunStore(store), folder_of(store, study, out)
    flat, seen, drawn = drawn_of(loaded, table, values, found, style, images)
    if seen:
        write_text(folder / "confusion.csv", classes.confusion_csv(seen, loaded))
    for name in {*plots.NAMES, *classes.FIGURES} - {plot.name for plot in drawn}:
        for path in (folder / "figures").glob(f"{name}.*"):  # of a table made with other options
            path.unlink()
    for plot in drawn:
        plots.save(plot, folder / "figures")
    path = folder / "report.html"
    each = classes.table_by_class(loaded, seen, table.options) if not table.options.get("by") else None
    runs = os.path.relpath(found.root / "runs", folder)
    write_text(path, page(f"{study}: report", _body(loaded, table, flat, each, drawn, found, runs)))
    return path


def drawn_of(
    study: Study,
    table: Table,
    values: Mapping[str, Any],
    store: RunStore,
    style: Mapping[str, Any] | None = None,
    images: classes.Images = lambda: None,
) -> tuple[Table, list[classes.Seen], list[plots.Plot]]:
    """The figures of a study's table, which `values` are the options of.

    Before them the table that they are drawn from, and its rows that have predictions.
    """
    # Figures need one row for each setting with its MACs, however the table itself is laid out.
    whole: dict[str, Any] = {"table.columns": [], "table.costs": list(COSTS), "table.means": []}
    if table.options.get("by"):
        whole |= {"table.by": None, "table.metrics": ["test_top1"]}
    elif not table.column_axes and any(quantity.name == "macs" for quantity in table.quantities):
        whole = {}
    flat, drawing = table_of(study, {**values, **whole}) if whole else table, figures_now(study, style or {})
    seen = classes.seen_rows(flat, study)
    drawn = plots.plots_of(flat, store, drawing) + classes.class_plots(seen, study, images, drawing)
    if comma.is_asked_for(table):
        drawn = [replace(plot, words=Sentences(flat).numbers) for plot in drawn]
    return flat, seen, drawn


def _body(
    study: Study,
    table: Table,
    flat: Table,
    each: Table | None,
    drawn: list[plots.Plot],
    store: RunStore,
    runs: str,
) -> Markup:
    anchors = {_point(row): f"row-{index}" for index, row in enumerate(flat.rows)}
    grid = _grid(table)
    words = Sentences(table).numbers
    comparisons, effects, failures = (
        (heads, with_sign(lines, words))
        for heads, lines in (comparisons_of(flat), effects_of(flat), _failures(study))
    )
    finished = [record for record in study.records.values() if record.finished]
    contents: list[tuple[str, list[tuple[str, str]]]] = [("Table", [])]
    contents += [("Figures", [(f"figure-{one.name}", one.title) for one in drawn])] if drawn else []
    contents += [("Comparisons", [])] if comparisons[1] else []
    contents += [("Classes", [])] if each else []
    contents += [("Effects", [])] if effects[1] else []
    contents += [(name, []) for name in ("Failures", "Runs", "Provenance")]
    return fill(
        "report.html",
        study=study,
        contents=contents,
        table=fragment(table, grid, lambda row: f"#{anchors[_point(row)]}", whole=True),
        figures=[(plot, Markup(plots.svg(plot))) for plot in drawn],
        comparisons=comparisons,
        effects=effects,
        classes=fragment(each, _grid(each), lambda row: f"#{anchors[_point(row)]}") if each else "",
        failures=failures,
        runs=_runs(study, flat, store, runs, words),
        command=shlex.join(study.command),
        finished=len(finished),
        provenance=_provenance(finished),
        constants="\n".join(f"{name}={spell(value)}" for name, value in sorted(study.constants.items())),
    )


def _grid(table: Table) -> Grid:
    return lay_out(table).localised(table)


def _point(row: Row) -> str:
    return repr(sorted((name, spell(value)) for name, value in row.axes.items() if name != AXIS))


def _failures(study: Study) -> tuple[list[str], Lines]:
    lines = [
        [
            Item("text", record.key),
            Item("text", _setting(study, record.key)),
            Item("text failed", record.why),
            Item("text", record.error),
        ]
        for record in study.records.values()
        if not record.finished
    ]
    return ["run", "setting", "why", "error"], lines


def _setting(study: Study, key: str) -> str:
    own = next(place.axes for place in study.places if place.key == key)
    parts = (f"{short_name(name, own)} {spell(value)}" for name, value in own.items() if value is not None)
    return ", ".join(parts)


def _runs(
    study: Study, table: Table, store: RunStore, folder: str, words: Callable[[str], str]
) -> list[dict[str, Any]]:
    """For each row of the table, its runs: result, config and learning curve."""
    whole = len(study.records) <= MOST_CURVES
    result = next(quantity for quantity in table.quantities if quantity.kind == "result")
    every = (key for row in table.rows for key in row.run_keys)
    curve = curve_in(every, result, store) if whole else None
    heads = ["run", "seed", plain(result.label), curve.label if curve else "", "files"]
    found = []
    for row in table.rows:
        count = f"{row.n}/{row.expected}" if row.missing else str(row.n)
        found.append(
            {
                "title": words(label(row, plain)),
                "seeds": f"{count} seed{'s' * (count != '1')}",
                "heads": heads,
                "lines": with_sign(
                    [
                        _run(study, study.records[key], result, store, folder, curve, words)
                        for key in row.run_keys
                    ],
                    words,
                ),
                "config": _config(study, row) if whole else None,
            }
        )
    return found


def _run(
    study: Study,
    record: Record,
    result: Quantity,
    store: RunStore,
    folder: str,
    curve: Curve | None,
    words: Callable[[str], str],
) -> list[Item]:
    """A run's line, its curve told in `words`."""
    value = record.values.get(result.name)
    shown = "" if value is None else f"{value:.2f}" if result.unit == "%" else f"{value:.5g}"
    files = Markup(" ").join(
        Markup('<a href="{}/{}/{}">{}</a>').format(folder, record.key, name, name.partition(".")[0])
        for name in ("config.json", "history.jsonl", "result.json")
        if (store.run(record.key).path / name).exists()
    )
    seed = study.config(record.key).get(SEED)
    return [
        Item("text", Markup("<code>{}</code>").format(record.key)),
        Item("", spell(seed)),
        Item("failed" if value is None else "", record.why if value is None else shown, value),
        Item("", Markup(sparkline(curve_of(store, record.key, curve.name), curve, words)) if curve else ""),
        Item("text", files),
    ]


def sparkline(found: Mapping[int, float], curve: Curve, words: Callable[[str], str] = str) -> str:
    """A small curve, thinned to at most `POINTS` points and told in `words`; empty for fewer than two."""
    if len(found) < 2:
        return ""
    values = list(found.values())
    step = max(1, -(-len(values) // POINTS))
    thin = values[::step] if (len(values) - 1) % step == 0 else [*values[::step], values[-1]]
    low, high = min(thin), max(thin)
    scale = 28 / (high - low) if high > low else 0
    points = " ".join(
        f"{100 * index / (len(thin) - 1):.1f},{30 - scale * (value - low):.1f}"
        for index, value in enumerate(thin)
    )
    ends = " to ".join(curve.text(value) for value in (values[0], values[-1]))
    text = escape(words(f"{curve.label} from {ends} over {len(values)} {curve.steps}s"))
    return (
        f'<svg class="curve" viewBox="0 0 100 32" preserveAspectRatio="none" role="img" aria-label="{text}">'
        f'<title>{text}</title><polyline points="{points}"/></svg>'
    )


def _config(study: Study, row: Row) -> str:
    config = study.config(row.run_keys[0]) if row.run_keys else {}
    return "\n".join(f"{name}={spell(value)}" for name, value in sorted(config.items()) if name != SEED)


def _provenance(finished: list[Record]) -> Lines:
    lines: Lines = []
    for fact, name in FACTS.items():
        counts = Counter(record.facts[fact] for record in finished if fact in record.facts)
        text = ", ".join(f"{value} ({count} run{'s' * (count != 1)})" for value, count in counts.items())
        if text:
            lines.append([Item("text", name), Item("text", text)])
    return lines
