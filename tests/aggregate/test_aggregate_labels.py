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
