from cbam_ablate.report.check import check_table
from cbam_ablate.report.frame import to_frame
from cbam_ablate.report.terminal import render as render_terminal
from cbam_ablate.report.write import write_table

__all__ = ["check_table", "render_terminal", "to_frame", "write_table"]
