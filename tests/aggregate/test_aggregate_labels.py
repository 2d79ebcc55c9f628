"""Labels of axes, their values and metrics."""

from tests.aggregate.test_aggregate_table import PLACEMENT, REDUCTION, THREE, make, placements


def test_nested_labels_name_an_axiss_values_and_stand_in_no_heading(stand_in):
    labels = {"placement": {"block": "In blocks"}, "reduction": {4: "r = 4"}}
    axes = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], "seed": [0, 1]}
    table = make(stand_in, axes, placements, {"labels": labels})
    assert [axis.label for axis in table.row_axes] == ["placement", "reduction"]
    assert table.rows[0].labels == {PLACEMENT: "In blocks", REDUCTION: "r = 4"}
    assert table.rows[3].labels == {PLACEMENT: "class", REDUCTION: "16"}


def test_a_label_that_another_one_covers_is_said(stand_in):
    labels = {"placement": {"block": "In blocks"}, "block": "Blocks", "class": "Once"}
    table = make(stand_in, THREE, placements, {"labels": labels})
    assert [row.labels[PLACEMENT] for row in table.rows] == ["none", "In blocks", "Once"]
    said = "table.labels.block: table.labels.placement.block counts instead."
    assert [note for note in table.notes if "labels" in note] == [said]


def test_labels_rename_axes_values_and_metrics(stand_in):
    labels = {"placement": "Where", "placement=block": "every block", "test_top1": "Accuracy"}
    table = make(stand_in, THREE, placements, {"labels": labels})
    assert table.row_axes[0].label == "Where"
    assert table.rows[1].labels[PLACEMENT] == "every block"
    assert table.quantities[0].label == "Accuracy"


def test_what_has_no_place_in_the_table_is_said(stand_in):
    axes = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], "seed": [0, 1]}
    declared = {
        "columns": ["reduction"],
        "labels": {"blok": "In blocks", "reduction": {4: "r = 4", 5: "r = 5"}},
        "published": [
            {"label": "SENet", "values": [{"reduction": 4, "test_top1": 93}, {"test_top1": 94}]},
            {"label": "GE", "values": [{"reduction": 4, "test_loss": 0.2}]},
        ],
        "references": [{"label": "He", "values": [{"placement": "block", "reduction": 8, "value": 1}]}],
    }
    table = make(stand_in, axes, placements, declared)
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
