"""A study's table before anything is trained: what its networks cost."""

from dataclasses import replace

from cbam_ablate.aggregate.model import Table
from cbam_ablate.aggregate.records import planned_study
from cbam_ablate.aggregate.table import build_table
from cbam_ablate.sweep.manifest import content_of
from cbam_ablate.sweep.plan import Plan

UNTRAINED = {
    "metrics": ["params", "macs"],
    "costs": [],
    "references": [],
    "published": [],
    "digits": {"params": 0, "macs": 0},
    "delta": False,
    "n": False,
    "findings": False,
    "notes": False,
    "caption": "Parameters and MACs of one image, of networks that were not trained.",
    "caption_only": True,
}


def planned_table(plan: Plan) -> Table:
    """Parameters and MACs of a plan's networks, laid out as the study's table is."""
    values = {
        key: {name: float(value) for name, value in cost._asdict().items()}
        for key, cost in plan.costs.items()
    }
    table = build_table(planned_study(content_of(plan, []), values), UNTRAINED, trained=False)
    # Of what was counted the columns are laid out as results are, of which a table has at least one.
    table.quantities = [replace(quantity, kind="result") for quantity in table.quantities]
    for row in table.rows:  # over seeds there is no spread
        row.cells = {name: replace(cell, sd=None, interval=None) for name, cell in row.cells.items()}
    return table
