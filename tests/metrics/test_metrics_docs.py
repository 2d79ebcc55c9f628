from pathlib import Path

import cbam_ablate
from cbam_ablate.metrics.docs import renew


def test_the_table_of_definitions_in_the_docs_is_the_one_of_the_code():
    text = (Path(cbam_ablate.__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert renew(text) == text
