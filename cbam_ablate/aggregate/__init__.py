from cbam_ablate.aggregate.model import Table
from cbam_ablate.aggregate.records import Record, Study, load_study
from cbam_ablate.aggregate.table import build_table

__all__ = ["Record", "Study", "Table", "build_table", "load_study"]
