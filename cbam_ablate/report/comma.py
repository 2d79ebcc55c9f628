"""Numbers with a decimal comma, in words and alone."""

import re
from collections.abc import Iterable

from cbam_ablate.aggregate.model import Table
from cbam_ablate.aggregate.names import flat_labels

COMMAND = "cbam-ablate "
ONE = r"[+−-]?\d+(?:\.\d+)?(?:e[+−-]?\d+)?"
NUMBERS = re.compile(rf"(?<![\w.,=+−-]){ONE}(?:, ?{ONE})*(?![\w=]|[.,]\w)")
"""Numbers beside each other; not those of a version, an option or a name."""
DECIMAL = re.compile(r"\d\.\d")


def numbers_in(text: str) -> str:
    """A text of ours whose numbers have decimal commas; a command in it stays as it can be typed."""
    words, command, rest = text.partition(COMMAND)
    return NUMBERS.sub(_numbers, words) + command + rest


def _numbers(found: re.Match[str]) -> str:
    text, before = found[0], found.string[: found.start()]
    if DECIMAL.search(text) or before.endswith("["):
        text = re.sub(", ?", "; ", text)
    return text.replace(".", ",")


def measured(text: str) -> str:
    """A measured number of a table, whose thousands are parted too."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "\u202f", text)
    return re.sub(r"(?<=\d)\.(?=\d)", ",", text).replace(", ", "; ")


def is_asked_for(table: Table) -> bool:
    return table.options.get("decimal") == "comma"


def kept(table: Table) -> Iterable[str]:
    """Texts of the author that hold numbers, which stay as they are."""
    texts = list(flat_labels(table.options.get("labels") or {}).values())
    texts += [text for one in table.references for text in (one.label, one.cite.rstrip("."))]
    texts += [text for one in table.published for text in (one.label, one.cite.rstrip("."))]
    texts.append(str(table.options.get("caption") or "").rstrip("."))
    return {text for text in texts if DECIMAL.search(text)}
