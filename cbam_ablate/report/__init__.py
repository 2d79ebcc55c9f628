from cbam_ablate.report.terminal import render as render_terminal
from cbam_ablate.report.write import write_table

__all__ = ["render_terminal", "write_table"]
