from typing import TYPE_CHECKING

from cbam_ablate.lazy import names_of

if TYPE_CHECKING:
    from cbam_ablate.report.check import check_table
    from cbam_ablate.report.frame import to_frame
    from cbam_ablate.report.terminal import render_terminal
    from cbam_ablate.report.write import write_table

__all__ = ["check_table", "render_terminal", "to_frame", "write_table"]

# Whoever packs a study must not pay for importing what prints a table.
__getattr__ = names_of(
    __name__,
    {
        "check": ["check_table"],
        "frame": ["to_frame"],
        "terminal": ["render_terminal"],
        "write": ["write_table"],
    },
)
