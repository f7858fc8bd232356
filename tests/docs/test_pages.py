"""All pages: links and anchors lead somewhere, a guide begins with what its reader can do, and pages stay short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.imports import ROOT

GUIDES = sorted((ROOT / "docs").glob("*.md"))
OURS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
LINKED = [*OURS, *(ROOT / name for name in ("REPRODUCIBILITY.md", "SECURITY.md", "CHANGELOG.md"))]
MAX_WORDS, MAX_README_WORDS, WIDTH = 30_000, 1_300, 120  # as `wc -w` counts


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


@pytest.mark.parametrize(
    "page", [ROOT / "CONTRIBUTING.md", ROOT / "REPRODUCIBILITY.md", *GUIDES], ids=lambda page: page.stem
)
def test_a_page_begins_with_what_its_reader_can_do_after_it(page: Path) -> None:
    title, blank, first = page.read_text(encoding="utf-8").split("\n")[:3]
    assert title.startswith("# ") and not blank
    assert first.startswith("After this page "), first


def test_the_pages_stay_short() -> None:
    words = {page: len(page.read_text(encoding="utf-8").split()) for page in OURS}
    assert words[ROOT / "README.md"] <= MAX_README_WORDS
    assert sum(words.values()) <= MAX_WORDS
