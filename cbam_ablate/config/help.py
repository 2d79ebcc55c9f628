"""What can be said on the command line, in words: every option and group, from the schema and `conf/`."""

import dataclasses
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from cbam_ablate.config import where
from cbam_ablate.config.canonical import leaves
from cbam_ablate.config.compose import compose, make_loader, typed
from cbam_ablate.config.options import GROUP_OF, spell
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.registry import rows

KINDS = {
    "int": "whole number", "float": "number", "bool": "true or false", "str": "text", "Any": "any",
    "list[str]": "list", "list[float]": "list of numbers", "list[int]": "list of whole numbers",
    "list[Any]": "list", "list[list[str]]": "list of lists",
}  # fmt: skip
BEFORE = "<!-- made by cbam-ablate options --markdown -->"


class Option(NamedTuple):
    """One option: `default` as one would type it, `about` its help, type, range and alternatives."""

    name: str
    section: str
    group: str
    default: str
    kind: str
    rule: str
    help: str

    @property
    def about(self) -> str:
        return "; ".join(part for part in (self.help, self.kind, self.rule) if part)


class OptionGroup(NamedTuple):
    """A group of `conf/`: a choice is a file."""

    name: str
    choices: list[str]
    default: str


def groups() -> list[OptionGroup]:
    """The groups of the packaged `conf/` and of the working folder's, in the order of the defaults list.

    Those of one's own have no default, which is then empty.
    """
    loader = make_loader()
    chosen: Any = OmegaConf.to_container(compose([], loader).hydra.runtime.choices)
    order = [*GROUP_OF.values(), *(name for name in chosen if name not in GROUP_OF.values())]
    found = [
        OptionGroup(name, sorted(loader.get_group_options(name), key=_naturally), str(chosen[name]))
        for name in order
        if not name.startswith("hydra/") or name == "hydra/launcher"
    ]
    own = sorted(name for name in where.groups() - set(order) if "/" not in name)
    return [*found, *(OptionGroup(name, where.choices(name), "") for name in own)]


def options() -> list[Option]:
    """Every option in the schema's order, with the value that a plain `cbam-ablate train` gives it."""
    default = typed(compose([]))
    return [
        Option(
            name=name,
            section=name.partition(".")[0] if "." in name else "",
            group=GROUP_OF.get(name, ""),
            default=_typed(value),
            kind=_kind(field),
            rule=_rule(field.metadata),
            help=field.metadata["help"],
        )
        for name, field, value in leaves(default)
    ]


def markdown() -> str:
    """The docs' page of all options."""
    lines = [
        "# Options", "", BEFORE, "",
        "Any of them is set as `name=value`, in a study file under `params` or as YAML, and swept with",
        "several values and `-m`. Those that change what is measured are part of a run's key; the others,",
        "marked with a dot (·), aren't.", "",
        "## Groups", "", "| group | choices | default |", "|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| `{group.name}` | {', '.join(f'`{choice}`' for choice in group.choices)} | `{group.default}` |"
        for group in groups()
    ]
    inside = {name for name, field, _ in leaves(RunConfig()) if field.metadata["identity"]}
    section = None
    for option in options():
        if option.section != section:
            section = option.section
            lines += ["", f"## {section or 'run'}", "", "| option | default | what it is |", "|---|---|---|"]
        mark = "" if option.name in inside else " ·"
        about = option.about.replace("|", "\\|")
        lines.append(f"| `{option.name}`{mark} | `{option.default}` | {about} |")
    return "\n".join(lines) + "\n"


def _kind(field: dataclasses.Field[Any]) -> str:
    """An option's type in words, null where it may be left open."""
    text = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    text = str(field.type) if "|" in str(field.type) or "[" in str(field.type) else text
    text = text.replace("typing.", "")
    plain = text.replace(" | None", "")
    word = "names and values" if plain.startswith("dict") else KINDS.get(plain, plain)
    return f"{word}, or null" if "None" in text else word


def _rule(rule: Any) -> str:
    """What an option may be."""
    if rule["part"] is not None:
        own = ", or module:Name of your own" if rule["part"].owns else ""
        return f"one of {', '.join(rows(rule['part']))}{own}"
    if rule["choices"] is not None:
        return f"of {', '.join(map(str, rule['choices']))}"
    words = {"low": "at least", "high": "at most", "above": "above", "below": "below"}
    return ", ".join(
        f"{word} {spell(rule[bound])}" for bound, word in words.items() if rule[bound] is not None
    )


def _typed(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_typed(item)}" for name, item in value.items()) + "}"
    return spell(value)


def _naturally(choice: str) -> tuple[int, str]:
    return (int(choice), "") if choice.isdecimal() else (-1, choice)
