"""docs/metrics.md's table of definitions, from `definitions`: python -m cbam_ablate.metrics.docs [FILE]"""

import sys
from pathlib import Path

from cbam_ablate.metrics.definitions import DEFINITIONS, Definition, top

BEGIN, END = "<!-- definitions: made by python -m cbam_ablate.metrics.docs -->", "<!-- end -->"


def table() -> str:
    """The definitions as a Markdown table."""
    lines = [
        "| name | unit | better | definition | classes that are absent | same as |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_line(one) for one in [*DEFINITIONS.values(), top(3)]]
    return "\n".join(lines)


def _line(one: Definition) -> str:
    name = "topK" if one.name == "top3" else one.name
    better = {"up": "higher", "down": "lower"}[one.better]
    meaning = one.meaning.replace("the 3 most", "the K most")
    oracle = one.oracle.replace("k=3", "k=K")
    return f"| `{name}` | {one.unit} | {better} | {meaning} | {one.absent} | `{oracle}` |"


def renew(text: str) -> str:
    """The text with the table between its marks made anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/metrics.md")
    path.write_text(renew(path.read_text(encoding="utf-8")), encoding="utf-8")
