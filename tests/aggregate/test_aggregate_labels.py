"""Labels name what they say, and what has no place in a table is said."""

from cbam_ablate.aggregate import build_table, load_study

PLACEMENT, REDUCTION = "model.attention.placement", "model.attention.reduction"
THREE = {PLACEMENT: ["none", "block", "class"], "seed": [0, 1]}
BOTH = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], "seed": [0, 1]}


def make(stand_in, axes, table):
    stand_in.build(axes, lambda chosen: 90 + chosen["seed"] + 5 * (chosen[PLACEMENT] == "block"), table=table)
    return build_table(load_study(stand_in.root, stand_in.study))


def test_what_has_no_place_in_the_table_is_said(stand_in):
    declared = {
        "columns": ["reduction"],
        "labels": {"blok": "In blocks", "reduction": {4: "r = 4", 5: "r = 5"}},
        "published": [
            {"label": "SENet", "values": [{"reduction": 4, "test_top1": 93}, {"test_top1": 94}]},
            {"label": "GE", "values": [{"reduction": 4, "test_loss": 0.2}]},
        ],
        "references": [{"label": "He", "values": [{"placement": "block", "reduction": 8, "value": 1}]}],
    }
    table = make(stand_in, BOTH, declared)
    said = [
        "SENet: 94 is left out, as it doesn't say of which model.attention.reduction.",
        "GE: has a number for test_loss, which is no column of this table.",
        "He: no row for model.attention.placement block, model.attention.reduction 8, 1.",
        "table.labels.blok: this study has no axis, value or metric of that name.",
        "table.labels.reduction.5: this study has no axis, value or metric of that name.",
    ]
    assert [sentence for sentence in said if sentence not in table.notes] == []
    assert "reduction.4" not in " ".join(table.notes)
    assert [one.label for one in table.published] == ["SENet"]
