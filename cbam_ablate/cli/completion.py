"""Completion of words in a shell: eval "$(cbam-ablate -sc install=bash)" in ~/.bashrc.

Commands, groups and their choices, options and what they may be, and the studies of conf/ or of the store.
"""

import os
import sys
from collections.abc import Iterable

from cbam_ablate.cli import COMMANDS

STORED = ("table", "runs", "report", "export", "reproduce", "evaluate", "measure", "explain", "wandb")
"""Commands whose study= is one of the store's."""
BASH = """\
_cbam_ablate() {
    local IFS=$'\\n'
    COMPREPLY=($(COMP_POINT=$COMP_POINT COMP_LINE=$COMP_LINE %s -sc query=bash 2>/dev/null))
}
complete -o nospace -o default -F _cbam_ablate cbam-ablate
"""


def main(asked: str) -> int:
    """Prints bash's script for `install=bash`, and for `query=bash` what could stand at the cursor."""
    if asked == "install=bash":
        print(BASH % "cbam-ablate", end="")
        return 0
    if asked == "query=bash":
        line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "0"))]
        print("\n".join(complete(line)))
        return 0
    print(f"cbam-ablate: -sc {asked}: must be install=bash", file=sys.stderr)
    return 1


def complete(line: str) -> list[str]:
    """What the last word of a command line up to the cursor could become, from its last = or : on."""
    words = line.split()
    last = "" if not words or line[-1:].isspace() else words.pop()
    if len(words) <= 1:
        return [f"{name} " for name in COMMANDS if name.startswith(last)]
    name, equals, typed = last.partition("=")
    if not equals:
        return sorted(f"{known}=" for known in _names() if known.startswith(last))
    before, comma, part = typed.rpartition(",")
    known = _values(name, words[1])
    return [f"{before}{comma}{value}" for value in known if value.startswith(part)]


def _names() -> Iterable[str]:
    from cbam_ablate.config.options import dotted_names
    from cbam_ablate.config.where import groups

    return {*groups(), *dotted_names(), "hydra/launcher"}


def _values(name: str, command: str) -> list[str]:
    """What an option or a group may be, where that is a list."""
    from cbam_ablate.config.canonical import leaves
    from cbam_ablate.config.schema import RunConfig
    from cbam_ablate.config.where import choices, groups
    from cbam_ablate.registry import rows

    if name == "study" and command in STORED:
        from pathlib import Path

        return sorted(path.parent.name for path in Path(RunConfig().store).glob("studies/*/manifest.json"))
    if name in groups() or name == "hydra/launcher":
        return choices(name)
    field = next((field for option, field, _ in leaves(RunConfig()) if option == name), None)
    if field is None:
        return []
    if field.metadata["part"] is not None:
        return list(rows(field.metadata["part"]))
    if field.metadata["choices"] is not None:
        return [str(choice) for choice in field.metadata["choices"]]
    return ["true", "false"] if field.type in (bool, "bool") else []
