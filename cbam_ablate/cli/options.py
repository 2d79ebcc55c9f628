"""cbam-ablate options [GROUP|SECTION|OPTION ...]

Every option with its help, type, range, default and alternatives; with names, those of a group (optimizer),
a section (table) or whose name holds a word (lr). `cbam-ablate options --markdown` is the docs' page of them.
"""

import textwrap
from shutil import get_terminal_size

from cbam_ablate.config.help import Option, OptionGroup, groups, markdown, options
from cbam_ablate.errors import ConfigError

WIDE = 100


def main(arguments: list[str]) -> int:
    if arguments == ["--markdown"]:
        print(markdown(), end="")
        return 0
    every, chosen = options(), groups()
    if not arguments:
        _print(every, chosen)
        return 0
    for word in arguments:
        found = [option for option in every if _about(option, word)]
        named = [group for group in chosen if group.name == word]
        if not found and not named:
            raise ConfigError(
                f"options {word}: no group, section or option is called so; there are the groups "
                f"{', '.join(group.name for group in chosen)} and the sections "
                f"{', '.join(dict.fromkeys(option.section for option in every if option.section))}"
            )
        _print(found, named)
    return 0


def _about(option: Option, word: str) -> bool:
    parts = option.name.split(".")
    return word == option.name or option.name.startswith(f"{word}.") or word in (parts[-1], option.group)


def _print(every: list[Option], chosen: list[OptionGroup]) -> None:
    width = min(get_terminal_size((WIDE, 24)).columns, WIDE)
    if chosen:
        _print_groups(chosen, width)
    section = None
    for option in every:
        if option.section != section:
            section = option.section
            print(f"\n{section or 'run'}")
        print(f"  {option.name}={option.default}")
        _wrapped("      ", option.about, width)


def print_groups() -> None:
    """Prints every group with its choices and its default, below a command's help."""
    print()
    _print_groups(groups(), min(get_terminal_size((WIDE, 24)).columns, WIDE))


def _print_groups(chosen: list[OptionGroup], width: int) -> None:
    print("Groups (a choice is a file; one of your own is conf/GROUP/NAME.yaml)")
    for group in chosen:
        default = f" (default {group.default})" if group.default else ""
        _wrapped(f"  {group.name:<12} ", f"{', '.join(group.choices)}{default}", width)


def _wrapped(lead: str, text: str, width: int) -> None:
    rest = " " * len(lead)
    print(textwrap.fill(text, width, initial_indent=lead, subsequent_indent=rest, break_on_hyphens=False))
