"""The command line: `cbam-ablate COMMAND [overrides]`. One small file a command, imported when it is used."""

import difflib
import gc
import io
import keyword
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from cbam_ablate import __version__
from cbam_ablate.console import set_up
from cbam_ablate.lazy_compiler import leave_out_compiler
from cbam_ablate.lazy_docs import leave_out_docs

COMMANDS = {
    "train": "train one run, or with -m or study=NAME a sweep",
    "plan": "show what a sweep would run, what is done and what it would cost",
    "table": "print and write a study's table from whatever is done",
    "runs": "list the store's runs by name, key, state, date and metric",
    "report": "write a study's report: one HTML file, and its figures for a paper",
    "import": "make tables of anybody's runs: CSV, Hydra, Lightning, TensorBoard, MLflow, W&B",
    "export": "pack a study, without checkpoints, into a small folder to keep",
    "reproduce": "train a row of a table again and compare, or print the command of one run",
    "evaluate": "a stored run or checkpoint on the test set, or what predictions a study's runs lack",
    "measure": "latency, throughput and memory of a study's networks in evaluation",
    "explain": "Grad-CAM and attention maps of stored runs side by side, and what they are worth",
    "options": "every option with its help, range, default and alternatives",
    "doctor": "what this machine can do, what is installed, and what stops training",
    "data": "fetch a data set and verify it",
    "wandb": "push runs and tables to W&B, pull projects from it, make its reports",
}

PLAIN = {
    "depth": "model.depth",
    "placement": "model.attention.placement",
    "reduction": "model.attention.reduction",
    "kernel": "model.attention.kernel",
    "detach": "sweep.detach",
}
"""Short names that mean one option and no more."""

COMPOSING = ("train", "plan")
"""Commands that compose a config of any group's choices, and collect cycles once they have imported torch."""
READING = ("table", "runs", "report", "export")
"""Commands that read many records, with few cycles among them, and end."""
SWEEPING = ("-m", "--multirun")
PLANNING = "planning ..."
"""Shown while the imports take their seconds; any first line of these commands is longer, and covers it."""

USAGE = """\
cbam-ablate COMMAND [name=value ...]

{commands}

Options are Hydra overrides: groups (backbone=resnet depth=18 placement=block reduction=16 kernel=7),
any value by its dotted name (train.epochs=20), and with -m several values (placement=none,block seed=0,1,2).
`cbam-ablate COMMAND --help` says more. Errors show a traceback with HYDRA_FULL_ERROR=1.
"""


alone = False
"""Whether this process is a command's alone, and ends as that does."""


def main() -> NoReturn:
    """Runs the command of `sys.argv` and exits: 0 only when all that was asked is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where the terminal's encoding lacks a sign
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(__version__)
        sys.exit(0)
    if arguments[0] in ("-sc", "--shell-completion"):
        from cbam_ablate.cli.completion import main as complete

        sys.exit(complete("".join(arguments[1:])))
    if twice := given_twice(arguments[1:]):
        sys.exit(fail(twice))
    if arguments[0] in (*READING, *COMPOSING):
        gc.disable()  # An eighth of a start would be looking for cycles among what is imported.
    if arguments[0] in READING:
        leave_out_docs()
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # idle threads of NumPy's would spin for a while
    code = _run_alone(arguments[0], arguments[1:])
    gc.freeze()  # else all that was read is searched once more as the process ends
    if code and arguments[0] == "wandb":
        # Not sys.exit: W&B's client would go on for half a minute with what it could not send.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run_alone(command: str, arguments: list[str]) -> int:
    global alone
    alone = True
    try:
        return run(command, arguments)
    finally:
        alone = False


def collect_again() -> None:
    """Has cycles collected from here on, but never searches what has been imported until now."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def given_twice(words: Sequence[str]) -> str:
    """What is wrong where an option is among these words with two values, by its name or its group's."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name.startswith("-"):
            continue
        bare = name.lstrip("+~")
        option = PLAIN.get(bare, bare)
        before = found.setdefault(option, word)
        if before.partition("=")[2] != value:
            return f"{before} and {word}: an option has one value; leave out either"
    return ""


def usage() -> str:
    return USAGE.format(commands="\n".join(f"  {name:<10} {about}" for name, about in COMMANDS.items()))


def run(command: str, arguments: list[str]) -> int:
    """The exit code of one command; a user's mistake becomes one message on stderr."""
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return fail(f"{command}: no such command; there are {', '.join(COMMANDS)}{hint}")
    set_up()
    leave_out_compiler()
    if (
        command in COMPOSING
        and sys.stderr.isatty()
        and not any(word.startswith("-") for word in arguments if word not in SWEEPING)
    ):
        print(PLANNING, end="\r", file=sys.stderr, flush=True)
    try:
        name = f"{command}_" if keyword.iskeyword(command) else command
        module = import_module(f"cbam_ablate.cli.{name}")
        if "-h" in arguments or "--help" in arguments:
            print((module.__doc__ or "").strip(), flush=True)
            if command in COMPOSING:
                from cbam_ablate.cli.options import print_groups

                print_groups()
            return 0
        return int(module.main(arguments))
    except KeyboardInterrupt:
        return fail("stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        from cbam_ablate.errors import UserError

        if isinstance(error, UserError | OSError):
            return fail(_denied(error) if isinstance(error, PermissionError) else str(error))
        if _came_of_ctrl_c(error):
            return fail("stopped", 130)
        return fail(f"{type(error).__name__}: {error}\n(a bug of ours; HYDRA_FULL_ERROR=1 shows where)")


def _came_of_ctrl_c(error: BaseException | None) -> bool:
    """Whether it was raised as Ctrl-C ended something, as by argparse in the middle of its work."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _denied(error: PermissionError) -> str:
    from cbam_ablate.runs.files import owner_of

    if error.filename is None:
        return str(error)
    where = Path(os.fsdecode(error.filename))
    there = os.path.lexists(where)
    whose = f": it is {owner_of(where)}'s, and chmod -R g+rX lets its group read it" if there else ""
    return f"{where}: {error.strerror}{whose}"


def fail(message: str, code: int = 1) -> int:
    print(f"cbam-ablate: {message}", file=sys.stderr)
    return code
