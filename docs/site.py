"""MkDocs hooks of `make docs`: the repository as the site sees it. mkdocs.yml has the navigation.

MkDocs only knows the files of docs/. Here every page has its path in the repository instead, whether it is in docs/ or
not, so a relative link means the same on the site and on a code host, and nothing is copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "*.md",
    "docs/**/*.md",
    "benchmarks/*.md",
    "data/mini/*/README.md",
    "data/0_raw/README.md",
    *(f"data/0_raw/{folder}/README.md" for folder in ("generators", "models", "prompts", "reference")),
    "gift_core/report/published/*.md",
)
ASSETS = ("docs/*.png", "docs/*.svg", "docs/*.css")
LIST = re.compile(r"^((?!- ).+)\n(?=- )", re.MULTILINE)  # a line above a list, which Markdown wants to be empty
SPECIAL = re.compile(r"([\[\]*]|^#)", re.MULTILINE)  # letters that Markdown would read as a link, emphasis or heading
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replaces each folder of `nav` by its pages."""
    config.nav = [expanded(entry, config) for entry in config.nav or []]
    return config


def expanded(entry: Any, config: MkDocsConfig) -> Any:
    """Returns an entry of `nav` with the pages of its folders."""
    if isinstance(entry, dict):
        return {title: expanded(inner, config) for title, inner in entry.items()}
    if isinstance(entry, list):
        return [expanded(inner, config) for inner in entry]
    if entry == "reference/":
        subjects = reference(config)
        return [{subject: [{name: f"reference/{name}.md"} for name in names]} for subject, names in subjects.items()]
    return [page for page in pages() if page.startswith(entry)] if entry.endswith("/") else entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Returns the files of the theme, pages and pictures of the repository, what they link to, and the reference."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    ours = [File.generated(config, name, abs_src_path=str(ROOT / name)) for name in (*pages(), *found(ASSETS))]
    api = [
        File.generated(config, f"reference/{name}.md", content=reference_page(name))
        for names in reference(config).values()
        for name in names
    ]
    return Files([*theme, *ours, *(linked_file(config, name) for name in linked_files()), *api])


def pages() -> list[str]:
    """Returns the paths of all Markdown files that the site shows, from the root of the repository."""
    return found(PAGES)


def found(patterns: Iterable[str]) -> list[str]:
    return sorted({path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)})


def linked_files() -> list[str]:
    """Returns the other files of the repository that a page links to, such as a preset or a module."""
    known = {*pages(), *found(ASSETS)}
    links = ((ROOT / page).parent / link for page in pages() for link in LINK.findall((ROOT / page).read_text("utf-8")))
    files = {path.resolve() for path in links if path.is_file()}
    return sorted({path.relative_to(ROOT).as_posix() for path in files if path.is_relative_to(ROOT)} - known)


def linked_file(config: MkDocsConfig, name: str) -> File:
    """Returns a file that browsers show as text instead of saving it."""
    file = File.generated(config, name, abs_src_path=str(ROOT / name))
    file.dest_uri += ".txt"
    return file


def reference(config: MkDocsConfig) -> dict[str, list[str]]:
    """Returns the modules and packages of gift_core by subject; what no subject lists is in the last one."""
    subjects = {subject: list(names) for subject, names in config.extra["reference"].items()}
    listed = {name for names in subjects.values() for name in names}
    subjects[list(subjects)[-1]] += sorted(set(public(ROOT / "gift_core")) - listed)
    return subjects


def public(package: Path) -> Iterator[str]:
    """Yields the names of the modules and packages in a package."""
    for path in sorted(package.iterdir()):
        if path.suffix == ".py" and not path.name.startswith("_"):
            yield path.stem
        elif (path / "__init__.py").is_file():
            yield path.name


def reference_page(name: str) -> str:
    """Returns the page of a module or package, which mkdocstrings fills with its docstrings."""
    path, dotted = ROOT / "gift_core" / name, f"gift_core.{name}"
    title = f"::: {dotted}\n    options: {{heading_level: 1}}"
    return "\n\n".join([title, *(f"::: {module}" for module in members(path, dotted))]) + "\n"


def members(package: Path, dotted: str) -> Iterator[str]:
    """Yields the dotted names of all modules below a package, and none below a module."""
    for name in public(package) if package.is_dir() else ():
        yield f"{dotted}.{name}"
        yield from members(package / name, f"{dotted}.{name}")


class PlainText(griffe.Extension):
    """Shows docstrings as they are written: plain text with code in backticks. <class> and A[i][j] are no markup."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = plain(obj.docstring.value)


def plain(text: str) -> str:
    """Returns Markdown that shows the text outside of `code` and of indented lines as it is, lists excepted."""
    parts = re.split(r"(`[^`]*`|^ {4}.*$)", LIST.sub(r"\1\n\n", text), flags=re.MULTILINE)
    return "".join(part if number % 2 else escaped(part) for number, part in enumerate(parts))


def escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
