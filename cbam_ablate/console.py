"""The one console that people read, and the way from `logging` to it."""

import contextlib
import logging
from functools import cache
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PACKAGE = logging.getLogger("cbam_ablate")
STYLES = {logging.WARNING: "yellow", logging.ERROR: "red"}


@cache
def console() -> "Console":
    """Standard error, with colours on a terminal unless NO_COLOR is set; silent once nobody reads it."""
    from rich.console import Console  # its import takes as long as a small command

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Quiet(stderr=True, highlight=False)


class ConsoleHandler(logging.Handler):
    """Prints each message as it is, above a live display where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone, and training goes on
            console().print(
                record.getMessage(), style=STYLES.get(record.levelno), markup=False, soft_wrap=True
            )


def set_up() -> None:
    """Shows what the package has to say on the console: for the edge of the command line."""
    PACKAGE.setLevel(logging.INFO)
    if not any(isinstance(handler, ConsoleHandler) for handler in PACKAGE.handlers):
        PACKAGE.addHandler(ConsoleHandler())


def errors_to(stream: TextIO) -> None:
    """Shows errors alone, on `stream`: for a worker whose standard error goes to a file."""
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.ERROR)
    PACKAGE.addHandler(handler)
