"""What the readers of run folders share: finding them, options from their names, YAML of anybody's making."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from cbam_ablate.errors import DataError
from cbam_ablate.sources.text import read_cell

PAIR = re.compile(r"(?:^|[,/_;+ ]|__)([A-Za-z_][\w.-]*?)=([^,/;]+?)(?=$|[,/;]|__)")
SEED = re.compile(r"(?:^|[_./-])seed[_=-]?(\d+)(?=$|[_./-])", re.IGNORECASE)


def holders(root: Path, holds: Callable[[set[str], set[str]], bool]) -> Iterator[Path]:
    """Folders at and below `root` for whose (folders, files) `holds` is true, in the order of their names."""
    for parent, folders, files in os.walk(root):
        folders.sort(key=natural)
        if holds(set(folders), set(files)):
            yield Path(parent)


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts version_2 before version_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def relative(folder: Path, root: Path) -> str:
    """A run's name: its folder seen from the source, the source's own name where it is that itself."""
    return root.resolve().name if folder == root else folder.relative_to(root).as_posix()


def options_of_name(name: str) -> dict[str, Any]:
    """The options that a folder's name says: `lr=0.1,seed=1`; else `seed1` and the rest of the name."""
    pairs = {key: read_cell(text) for key, text in PAIR.findall(name)}
    if pairs:
        return pairs
    match = SEED.search(name)
    if match is None:
        return {"folder": name}
    rest = (name[: match.start()] + name[match.end() :]).strip("/_.-")
    return {**({"folder": rest} if rest else {}), "seed": int(match[1])}


class _Lenient(yaml.SafeLoader):
    """Reads YAML that names Python objects without making them."""


def _as_plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value or suffix.rpartition(":")[2]
    if isinstance(node, yaml.SequenceNode):
        parts = loader.construct_sequence(node, deep=True)
        return "/".join(map(str, parts)).replace("//", "/") if "Path" in suffix else parts
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return suffix


_Lenient.add_multi_constructor("tag:yaml.org,2002:python/", _as_plain)
_Lenient.add_multi_constructor("!", _as_plain)
_Lenient.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),  # 1e-3, which YAML 1.1 takes for text
    list("-+0123456789."),
)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, Python objects in it as text. Raises `DataError` where it is none."""
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), _Lenient)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: is no YAML that can be read ({' '.join(str(error).split())[:120]})"
        ) from None
