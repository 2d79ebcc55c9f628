"""What is wrong in YAML files of the user's own, told by file, line and word.

Asked once something can't be composed: Hydra's and the YAML parser's errors name neither what to write
instead nor, mostly, where.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from cbam_ablate.config.options import coerce, dotted_names
from cbam_ablate.config.where import choices, conf_dir, conf_dirs, groups
from cbam_ablate.errors import ConfigError

TAB = "found character '\\t'"
HEADER = re.compile(r"\A(?:\s*#\s*@.*\n)*?\s*#\s*@package\s+(\S+)")
"""As Hydra finds it: above everything but other lines of this kind."""
NAMED = re.compile(r"In '([^']+)'|\"([^\"]+\.yaml)\"|study=([\w-]+)")


def problems(choices_made: Iterable[tuple[str, str]], error: Exception) -> list[str]:
    """A line for each mistake in the user's own files among these (group, choice), or that `error` names."""
    paths = {f"{group}/{choice}.yaml" for group, choice in choices_made}
    paths |= {f"{name}.yaml" for name, _, _ in NAMED.findall(str(error)) if name}
    full = [Path(path) for _, path, _ in NAMED.findall(str(error)) if path]
    files = [
        (folder, folder / path)
        for folder in conf_dirs()
        if folder != conf_dir()
        for path in sorted(
            paths | {str(one.relative_to(folder)) for one in full if one.is_relative_to(folder)}
        )
    ]
    return [line for folder, file in files if file.is_file() for line in _file(folder, file)]


def shown(file: Path) -> str:
    """A file's name as one in the working folder reads it."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


def decoded(file: Path) -> str:
    """A file's text, without a byte-order mark. Raises `ConfigError` where it isn't UTF-8."""
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{shown(file)} line {line}: isn't UTF-8 text; save the file as UTF-8") from error


def prefix_of(text: str, folder: Path, file: Path) -> str:
    """How the dotted names of what a file holds begin: by its `@package` line, else by its group."""
    header = HEADER.search(text)
    group = file.parent.relative_to(folder).as_posix()
    package = header[1] if header else group.replace("/", ".").removeprefix(".")
    return "" if not package or package.startswith("_global_") else f"{package}."


def _file(folder: Path, file: Path) -> Iterator[str]:
    where, text = shown(file), decoded(file)
    group = file.parent.relative_to(folder).as_posix()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = "a tab; YAML is indented by spaces" if TAB in str(error) else f"{error.problem or error}"
        yield f"{where} line {mark.line + 1 if mark else 1}: {what}"
        return
    if not isinstance(node, yaml.MappingNode):
        yield f"{where} line 1: must hold names and values"
        return
    standing = _package(group)
    header = HEADER.search(text)
    if standing and not header:
        first = f"# @package {standing}"
        yield f"{where} line 1: the first line must be `{first}`, or all would be under {group}"
        return
    for line, what in _mapping(node, prefix_of(text, folder, file), group):
        yield f"{where} line {line}: {what}"


def _package(group: str) -> str | None:
    """What our own files of a group say in their first line."""
    if group == "study":
        return "_global_"
    found = [HEADER.search(path.read_text()) for path in sorted((conf_dir() / group).glob("*.yaml"))]
    return found[0][1] if found and found[0] else None


def _mapping(node: yaml.MappingNode, prefix: str, group: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) below one mapping."""
    known, seen = dotted_names(), set()
    for key, value in node.value:
        name, line = f"{prefix}{key.value}", key.start_mark.line + 1
        if name in seen:
            yield line, f"{key.value}: stands twice"
        seen.add(name)
        if name == "defaults":
            yield from _defaults(value, group)
        elif name == "hydra" or name.startswith("hydra."):
            continue
        elif name in known:
            yield from _value(name, value)
        elif any(option.startswith(f"{name}.") for option in known):
            if isinstance(value, yaml.MappingNode):
                yield from _mapping(value, f"{name}.", group)
            else:
                yield line, f"{name}: is a section; its options are written below it"
        else:
            near = {option[len(prefix) :].partition(".")[0] for option in known if option.startswith(prefix)}
            near |= {"defaults", "hydra"} if not prefix else set()
            yield line, f"{key.value}: no such option{_hint(key.value, near)}"


def _value(name: str, node: yaml.Node) -> Iterator[tuple[int, str]]:
    try:
        value = yaml.SafeLoader("").construct_object(node, deep=True)
    except ValueError:  # dates that there aren't, whole numbers of thousands of digits
        yield node.start_mark.line + 1, f"{name}: {str(node.value)[:40]} is no value"
        return
    if dotted_names()[name] is dict or "${" in str(value):
        return
    try:
        coerce(name, value)
    except ConfigError as error:
        yield node.start_mark.line + 1, str(error)


def _defaults(node: yaml.Node, group: str) -> Iterator[tuple[int, str]]:
    """What is wrong with the items of a defaults list."""
    for item in node.value if isinstance(node, yaml.SequenceNode) else ():
        for key, value in item.value if isinstance(item, yaml.MappingNode) else ():
            line, words = key.start_mark.line + 1, key.value.split()
            name = words[-1].lstrip("/").partition("@")[0]
            inside = group == "study" or words[0] == "override"
            if not inside or name.startswith("hydra/"):
                continue
            if name not in groups():
                yield line, f"{words[-1]}: no such group{_hint(name, groups())}"
            elif words[0] != "override":
                yield (
                    line,
                    f"{key.value}: a study changes a group's choice: - override /{name}: {value.value}",
                )
            elif not value.tag.endswith((":str", ":seq", ":null")):
                yield line, f'{name}: {value.value} must be in quotes: "{value.value}"'
            elif isinstance(value, yaml.ScalarNode) and not _there(name, value.value):
                listed = ", ".join(choices(name))
                yield line, f"{name}: {value.value} is not one of {listed}{_hint(value.value, choices(name))}"


def _there(group: str, choice: str) -> bool:
    """Whether a group has such a choice, or it is null, or `module:Name`."""
    return choice in ("null", "~") or ":" in choice or choice in choices(group)


def _hint(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
