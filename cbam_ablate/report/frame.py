"""The table as a pandas DataFrame, for a notebook."""

from typing import TYPE_CHECKING

from cbam_ablate.aggregate.model import Table
from cbam_ablate.report.table_csv import record

if TYPE_CHECKING:
    import pandas as pd


def to_frame(table: Table) -> "pd.DataFrame":
    """One row for each setting, indexed by the axes (as text); every statistic in a column of its own."""
    import pandas as pd

    frame = pd.DataFrame([record(table, index) for index in range(len(table.rows))])
    axes = [axis.name for axis in table.axes]
    return frame.set_index(axes) if axes else frame
