"""The report: one self-contained HTML file with a study's tables, figures, failures, runs and provenance."""

import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate import Record, Study, Table, build_table, load_study
from cbam_ablate.aggregate.classes import AXIS
from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.metrics import COSTS
from cbam_ablate.aggregate.model import Difference, Effect, Row
from cbam_ablate.aggregate.names import rough
from cbam_ablate.aggregate.notes import FACTS
from cbam_ablate.aggregate.records import SEED
from cbam_ablate.aggregate.statistics import MOST_SEEDS
from cbam_ablate.config.overrides import short_name, spell
from cbam_ablate.report import classes, digits, plots
from cbam_ablate.report.grid import lay_out
from cbam_ablate.report.table_html import fragment, listed, page
from cbam_ablate.report.write import write_table
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import write_text

MOST_CURVES = 600
"""Runs up to which each one's curve and config stand in the page; beyond, its files are linked."""
POINTS = 60


Line = list[tuple[str, str, float | None]]
"""The cells of a line: class, text, and the number it sorts by."""


def write_report(
    store: Path | str,
    study: str,
    values: Mapping[str, Any] | None = None,
    images: classes.Images = lambda: None,
) -> Path:
    """Writes report.html, figures/*.{pdf,png} and the table to the study's folder; returns the page's path.

    `images` gives the test images, of which mistakes are shown, where they are at hand.
    Raises `ConfigError` for options that don't fit the study.
    """
    table = write_table(store, study, values)
    loaded = load_study(store, study)
    # Figures need one row for each setting with every cost, however the table itself is laid out.
    plain = {"table.by": None, "table.metrics": ["test_top1"]} if table.options.get("by") else {}
    flat = build_table(loaded, {**(values or {}), **plain, "table.columns": [], "table.costs": list(COSTS)})
    found = RunStore(store)
    drawn = plots.plots_of(flat, found)
    seen = classes.seen_rows(flat, loaded)
    drawn += classes.class_plots(seen, loaded, images)
    folder = found.study(study)
    if seen:
        write_text(folder / "confusion.csv", classes.confusion_csv(seen, loaded))
    for name in {*plots.NAMES, *classes.FIGURES} - {plot.name for plot in drawn}:
        for path in (folder / "figures").glob(f"{name}.*"):  # of a table made with other options
            path.unlink()
    for plot in drawn:
        plots.save(plot, folder / "figures")
    path = folder / "report.html"
    each = classes.table_by_class(loaded, seen) if not table.options.get("by") else None
    write_text(path, page(f"{study}: report", _body(loaded, table, flat, each, drawn, found)))
    return path


def _body(
    study: Study, table: Table, flat: Table, each: Table | None, drawn: list[plots.Plot], store: RunStore
) -> str:
    anchors = {_point(row): f"row-{index}" for index, row in enumerate(flat.rows)}
    sections = {
        "Table": fragment(table, lay_out(table), lambda row: f"#{anchors[_point(row)]}"),
        "Figures": _figures(drawn),
        "Comparisons": _comparisons(flat),
        "Classes": fragment(each, lay_out(each), lambda row: f"#{anchors[_point(row)]}") if each else "",
        "Effects": _effects(flat),
        "Failures": _failures(study),
        "Runs": _runs(study, flat, store),
        "Provenance": _provenance(study),
    }
    there = {name: text for name, text in sections.items() if text}
    links = "".join(f'<a href="#{name}">{name}</a>' for name in there)
    parts = [f'<h2 id="{name}">{name}</h2>\n{text}' for name, text in there.items()]
    head = f'<header><h1>{escape(study.name)}</h1><button id="theme">light / dark</button></header>'
    return "\n".join([head, f"<nav>{links}</nav>", *parts])


def _point(row: Row) -> str:
    return repr(sorted((name, spell(value)) for name, value in row.axes.items() if name != AXIS))


def _figures(drawn: list[plots.Plot]) -> str:
    parts = []
    for plot in drawn:
        files = " ".join(
            f'<a href="figures/{plot.name}.{kind}">{kind.upper()}</a>' for kind in ("pdf", "png")
        )
        parts.append(
            f"<figure>{plots.svg(plot)}<figcaption>{escape(plot.caption)} {files}</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def _comparisons(table: Table) -> str:
    """Every difference to a baseline with all that is known of it."""
    lines: list[Line] = []
    for row in table.rows:
        for quantity in table.quantities:
            found = row.cell(quantity.name).difference
            if found is None:
                continue
            numbered = [found.p, found.p_holm, found.d_z, found.hedges_g, found.smallest]
            lines.append(
                [
                    ("text", label(row), None),
                    ("label", quantity.label, None),
                    ("", digits.difference(found, quantity.unit) + " *" * found.significant, found.value),
                    ("", str(found.n), found.n),
                    *(("", "" if value is None else rough(value), value) for value in numbered),
                    ("", _seeds(found), None),
                ]
            )
    if not lines:
        return ""
    heads = ["row", "result", "difference to the baseline [95 % interval]", "pairs", "p", "p after Holm"]
    heads += ["d_z", "Hedges' g", "could have shown", "more seeds"]
    text = (
        "Paired by seed; t-tests; Holm over all of these. What n and spread could have shown with 80 % power."
    )
    return f"<p>{escape(text)}</p>{_grid(heads, lines)}"


def _seeds(found: Difference) -> str:
    if found.more_seeds is None:
        return ""
    few, many = (f"over {MOST_SEEDS}" if total is None else str(total) for total in found.more_seeds)
    return few if few == many else f"{few} to {many}"


def _effects(table: Table) -> str:
    if not table.effects:
        return ""
    names = {axis.name: axis.label for axis in table.axes}
    units = {quantity.name: quantity.unit for quantity in table.quantities}
    labels = {quantity.name: quantity.label for quantity in table.quantities}
    lines: list[Line] = [
        [
            ("label", labels[effect.quantity], None),
            ("text", " × ".join(names[axis] for axis in effect.axes), None),
            ("text", _contrast(effect), None),
            ("", _size(effect, units[effect.quantity]), effect.value),
            ("", str(effect.n), effect.n),
            ("", "" if effect.p_holm is None else f"{effect.p_holm:.2g}", effect.p_holm),
        ]
        for effect in table.effects
    ]
    heads = ["result", "effect", "levels", "size [95 % interval]", "seeds", "p after Holm"]
    text = "Contrasts within each seed, averaged over the other axes; Holm over each result's effects."
    return f"<p>{escape(text)}</p>{_grid(heads, lines)}"


def _contrast(effect: Effect) -> str:
    return "; ".join(
        f"{spell(level)} against {spell(against)}"
        for level, against in zip(effect.levels, effect.against, strict=True)
    )


def _size(effect: Effect, unit: str) -> str:
    if effect.interval is None:
        return digits.fixed(effect.value, 2, signed=True)
    decimals = digits.decimals_of((effect.interval[1] - effect.interval[0]) / 2)
    low, high = (digits.fixed(bound, decimals, signed=True) for bound in effect.interval)
    star = " *" if effect.significant else ""
    return f"{digits.fixed(effect.value, decimals, signed=True)} [{low}, {high}]{star}"


def _failures(study: Study) -> str:
    missing = [record for record in study.records.values() if not record.finished]
    odd = listed("notes", study.warnings)
    if not missing:
        return f"<p>All {len(study.records)} runs are finished.</p>{odd}"
    lines: list[Line] = [
        [
            ("text", record.key, None),
            ("text", _setting(study, record.key), None),
            ("text failed", record.why, None),
            ("text", record.error, None),
        ]
        for record in missing
    ]
    text = f"<p>{len(missing)} of {len(study.records)} runs are not finished.</p>"
    return f"{text}{_grid(['run', 'setting', 'why', 'error'], lines)}{odd}"


def _setting(study: Study, key: str) -> str:
    own = next(place.axes for place in study.places if place.key == key)
    text = (f"{short_name(name, own)} {spell(value)}" for name, value in own.items() if value is not None)
    return ", ".join(text)


def _runs(study: Study, table: Table, store: RunStore) -> str:
    """For each row of the table, its runs: result, config and learning curve."""
    whole = len(study.records) <= MOST_CURVES
    result = next(quantity for quantity in table.quantities if quantity.kind == "result")
    parts = []
    for index, row in enumerate(table.rows):
        heads = ["run", "seed", result.label, "validation curve" if whole else "", "files"]
        lines = [_run(study, study.records[key], result.name, store, whole) for key in row.run_keys]
        config = _config(study, row) if whole else ""
        count = f"{row.n}/{row.expected}" if row.missing else str(row.n)
        seeds = f"{count} seed{'s' * (count != '1')}"
        title = f"{escape(label(row))} <small>({seeds})</small>"
        grid = _grid(heads, lines, plain=False)
        parts.append(f'<details id="row-{index}"><summary>{title}</summary>{grid}{config}</details>')
    return "\n".join(parts)


def _run(study: Study, record: Record, metric: str, store: RunStore, whole: bool) -> Line:
    value = record.values.get(metric)
    files = " ".join(
        f'<a href="../../runs/{record.key}/{name}">{name.partition(".")[0]}</a>'
        for name in ("config.json", "history.jsonl", "result.json")
        if (store.run(record.key).path / name).exists()
    )
    curve = sparkline(plots.curve_of(store, record.key)) if whole else ""
    seed = study.config(record.key).get(SEED)
    text = escape(record.why) if value is None else f"{value:.2f}"
    return [
        ("text", f"<code>{escape(record.key)}</code>", None),
        ("", escape(spell(seed)), None),
        ("failed" if value is None else "", text, value),
        ("", curve, None),
        ("text", files, None),
    ]


def sparkline(values: list[float]) -> str:
    """A small curve, thinned to at most `POINTS` points; empty for fewer than two."""
    if len(values) < 2:
        return ""
    step = max(1, -(-len(values) // POINTS))
    thin = values[::step] if (len(values) - 1) % step == 0 else [*values[::step], values[-1]]
    low, high = min(thin), max(thin)
    scale = 28 / (high - low) if high > low else 0
    points = " ".join(
        f"{100 * index / (len(thin) - 1):.1f},{30 - scale * (value - low):.1f}"
        for index, value in enumerate(thin)
    )
    text = f"validation top-1 from {values[0]:.2f} to {values[-1]:.2f} % over {len(values)} epochs"
    return (
        f'<svg class="curve" viewBox="0 0 100 32" preserveAspectRatio="none" role="img" aria-label="{text}">'
        f'<title>{text}</title><polyline points="{points}"/></svg>'
    )


def _config(study: Study, row: Row) -> str:
    config = study.config(row.run_keys[0]) if row.run_keys else {}
    text = "\n".join(f"{name}={spell(value)}" for name, value in sorted(config.items()) if name != SEED)
    return f"<details><summary>config</summary><pre>{escape(text)}</pre></details>"


def _provenance(study: Study) -> str:
    finished = [record for record in study.records.values() if record.finished]
    lines: list[Line] = []
    for fact, words in FACTS.items():
        counts: dict[str, int] = {}
        for record in finished:
            if fact in record.facts:
                counts[record.facts[fact]] = counts.get(record.facts[fact], 0) + 1
        text = ", ".join(f"{value} ({count} run{'s' * (count != 1)})" for value, count in counts.items())
        if text:
            lines.append([("text", words, None), ("text", text, None)])
    constants = "\n".join(f"{name}={spell(value)}" for name, value in sorted(study.constants.items()))
    command = escape(shlex.join(study.command))
    return (
        f"<p>Made by <code>{command}</code>; {len(finished)} of {len(study.records)} runs are finished.</p>"
        f"{_grid(['what', 'in the finished runs'], lines)}"
        f"<details><summary>options that all runs share</summary><pre>{escape(constants)}</pre></details>"
    )


def _grid(heads: list[str], lines: list[Line], plain: bool = True) -> str:
    """A sortable table. The texts are escaped where they are `plain`, and markup of ours otherwise."""
    made = []
    for line in lines:
        cells = [
            f'<td class="{kind}"{"" if value is None else f" data-value={chr(34)}{value!r}{chr(34)}"}>'
            f"{escape(text) if plain else text}</td>"
            for kind, text, value in line
        ]
        made.append(f"<tr>{''.join(cells)}</tr>")
    kinds = [cell[0] for cell in lines[0]] if lines else [""] * len(heads)
    titles = "".join(
        f'<th scope="col" class="{kind}">{escape(head)}</th>' for head, kind in zip(heads, kinds, strict=True)
    )
    return (
        '<div class="wide"><table class="sortable"><thead><tr>'
        f"{titles}</tr></thead><tbody>{''.join(made)}</tbody></table></div>"
    )
