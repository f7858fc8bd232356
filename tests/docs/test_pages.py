"""Links and anchors of all pages lead somewhere, and what they name of the code exists."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from tests.docs import command_line
from tests.imports import ROOT
from tests.test_architecture import DVC, ORDER

GUIDES = sorted((ROOT / "docs").glob("*.md"))
OURS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
LINKED = [*OURS, *(ROOT / name for name in ("REPRODUCIBILITY.md", "SECURITY.md", "CHANGELOG.md"))]
WIDTH = 120


def text_of(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.stem)
def test_every_link_and_anchor_leads_somewhere_and_lines_of_text_are_not_long(page: Path) -> None:
    """Tables and blocks of code are not text. A command is not broken."""
    text = text_of(page)
    for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    lines = [line for line in text.splitlines() if not line.startswith(("|", "    ", "![")) and page in OURS]
    assert [line for line in lines if len(line) > WIDTH and " " in re.sub(r"`[^`]+`", "", line)] == []


def test_the_page_about_commands_is_the_help_of_gift() -> None:
    assert command_line.page() == command_line.PAGE.read_text(encoding="utf-8"), "run: make command-line"


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAME = re.compile(r"`((?:[a-z_]+\.)+[A-Za-z_]\w*(?:\.[a-z]\w*)?)`")  # a module with a function, a class or a method


def test_the_page_about_the_architecture_has_the_stages_the_import_order_and_functions_that_exist() -> None:
    assert re.findall(r"^\| `(\w+)(?:@[\w-]+)?` \|", ARCHITECTURE, re.MULTILINE) == list(DVC)
    (order,) = re.findall(r"^`errors.*?use`$", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    groups = [{name.partition(".")[0] for name in group} for group in ORDER]
    groups = [group for at, group in enumerate(groups) if group != {"method"} or groups[at - 1] != group]
    assert [set(re.findall(r"\w+", group)) for group in order.split("<")] == groups
    named = set(NAME.findall(ARCHITECTURE[ARCHITECTURE.index("## Walk 1") :]))
    functions = {name for name in named if not name.endswith((".json", ".jsonl", ".html"))}
    assert len(functions) > 20
    for name in functions:
        own = Path("gift_core", "method", name.split(".")[0])
        package = "gift_core.method." if own.is_dir() or own.with_suffix(".py").is_file() else "gift_core."
        assert callable(pkgutil.resolve_name(name if name.startswith("stages.") else package + name)), name


def test_the_reference_of_the_site_lists_packages_and_modules_that_exist() -> None:
    """The site itself is built by a thorough test. A package that moves is noticed here."""
    (subjects,) = re.findall(r"^  reference:\n((?:    .*\n)+)", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    listed = {name for names in re.findall(r"\[(.*)\]", subjects) for name in re.findall(r"\w+", names)}
    assert len(listed) > 15
    assert listed - {module.name for module in pkgutil.iter_modules([str(ROOT / "gift_core")])} == set()


NAMING = [*GUIDES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "REPRODUCIBILITY.md"]
FOLDERS = ("gift_core", "stages", "presets", "recipes", "benchmarks", "examples")
SOURCES = (*FOLDERS, "Makefile", "dvc.yaml", "pyproject.toml")
# Of Linux, uv, open_clip, and secrets that the reader makes.
ELSEWHERE = {
    "Killed", "UV_FIND_LINKS", "UV_TORCH_BACKEND", "RN50", "coca_base", "laion2b_s34b_b79k", "GS_KEY", "SSH_KEY",
}  # fmt: skip
FILE = re.compile(r"(?<![\w/.~-])(?:gift_core|stages|tests|docs|benchmarks|recipes|presets|examples)/[\w./-]*\w")


def words_of_the_code() -> set[str]:
    """Records of older code (revisions.json) do not count."""
    files = [file for name in SOURCES for file in (ROOT / name, *(ROOT / name).rglob("*"))]
    read = [file for file in files if file.suffix in (".py", ".yaml", ".toml", ".csv", "") and file.is_file()]
    return {word for file in read for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}


def test_the_names_files_and_options_that_pages_mention_exist() -> None:
    """Of names in backquotes those with _ or a capital letter. A file may be given by the beginning of its name."""
    words, missing = words_of_the_code() | ELSEWHERE, list[str]()
    options = {
        name: {each for param in command.params for each in param.opts} for name, command in command_line.commands()
    }
    for page in NAMING:
        spans = re.findall(r"`([A-Za-z_]\w*(?:\.\w+)*)`", text_of(page))
        named = {part for span in spans if re.search("[A-Z_]", span) for part in span.split(".")}
        text = page.read_text(encoding="utf-8")
        files = {file for file in FILE.findall(text) if not [*ROOT.glob(f"{file}*")]} - {"benchmarks/NAME.md"}
        missing += [f"{page.name}: {each}" for each in (*(named - words), *files)]
        for line in re.findall(r"gift [a-z][^`\n#|&>]*", text):
            command = next((name for name in options if line.startswith(f"gift {name} ")), "")
            wrong = {*re.findall(r" (--[a-z-]+)", line)} - options.get(command, set()) - {"--help", "--version"}
            missing += [f"{page.name}: {line}: {each}" for each in wrong]
    assert missing == []


def test_every_claim_about_security_names_a_test_that_exists() -> None:
    lines = (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith(("| what", "|---"))]
    assert len(rows) == 10
    for row in rows:
        named = re.findall(r"tests/[\w/.]+", row.split("|")[-2])
        assert named and all((ROOT / name.rstrip(".,")).exists() for name in named), row
