from typing import TYPE_CHECKING

from cbam_ablate.lazy import names_of

if TYPE_CHECKING:
    from cbam_ablate.aggregate.model import Table
    from cbam_ablate.aggregate.records import Record, Study, load_study
    from cbam_ablate.aggregate.table import build_table

__all__ = ["Record", "Study", "Table", "build_table", "load_study"]

# Whoever asks whether a table's declaration holds must not pay for importing SciPy.
__getattr__ = names_of(
    __name__, {"model": ["Table"], "records": ["Record", "Study", "load_study"], "table": ["build_table"]}
)
