"""Pages of the site that stand elsewhere in the repository, or are made when the site is."""

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from cbam_ablate.config.help import markdown

ROOT = Path(__file__).parents[1]
COPIED = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Where files of the repository stand in the site. All of `results/` is in `gallery/`."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    made = {"options.md": markdown(), "tables.md": notebook(ROOT / "docs/tables.ipynb")}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for source, name in COPIED.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    for path in sorted((ROOT / "results").rglob("*")):
        if path.name == "README.md" or path.suffix == ".png":
            name = f"gallery/{path.relative_to(ROOT / 'results').as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links to files of the repository become links to where they stand in the site."""
    name = page.file.src_uri
    up = "../" * name.count("/")
    if name in COPIED.values():
        return markdown.replace("](docs/", "](").replace("](results/", "](gallery/")
    for source, there in {**COPIED, "results/": "gallery/"}.items():
        markdown = markdown.replace(f"](../{source}", f"]({up}{there}")
    return markdown


def notebook(path: Path) -> str:
    """A notebook with its outputs, as Markdown."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            shown = output.get("data", {})
            text = "".join(output.get("text", shown.get("text/plain", "")))
            parts.append("".join(shown.get("text/html", "")) or f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"
