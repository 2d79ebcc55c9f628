"""Published numbers beside a table's rows."""

from tests.aggregate.test_aggregate_table import THREE, make, placements


def test_published_numbers_stand_by_the_rows_they_belong_to(stand_in):
    declared = [
        {
            "label": "a repository",
            "cite": "repo2023",
            "values": [{"placement": "none", "value": "84.36"}, {"placement": "stage", "value": 1}],
        }
    ]
    table = make(stand_in, THREE, placements, {"references": declared})
    assert table.references[0].values == ["84.36", "", ""]
    assert any("a repository: no row" in note for note in table.notes)


def test_published_numbers_of_another_network_are_left_out_with_a_word(stand_in):
    values = [{"placement": "none", "value": "84.36"}]
    declared = [
        {"label": "of all", "of": {"data": "cifar10"}, "values": values},
        {"label": "of some", "of": {"placement": ["avg"]}, "values": values},
    ]
    table = make(stand_in, THREE, placements, {"references": declared})
    assert [reference.label for reference in table.references] == ["of all"]
    assert any("of some: left out, as no row is of its model.attention" in note for note in table.notes)
