"""The site of `make docs`: it builds strictly, loads nothing from other hosts, and looks like on a code host."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.clone import Clone
from tests.imports import ROOT

pytest.importorskip("mkdocstrings", reason="needs the extra docs")
pytestmark = pytest.mark.end_to_end
# What a page loads by itself, unlike the targets of its links.
LOADS = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*?\ssrc=\"?([^\s\">]+)"
    r"|<link\b(?![^>]*\brel=\"?(?:canonical|prev|next)\b)[^>]*?\shref=\"?([^\s\">]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. `mkdocs build --strict` fails for a broken link or anchor, and for a page that is not in nav."""
    folder = tmp_path_factory.mktemp("site")
    # Without --quiet, which hides the warnings that --strict counts.
    Clone(ROOT).run(sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder))
    return folder


def test_no_page_loads_anything_from_another_host_and_the_reference_has_every_module(site: Path) -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    loads = {src or href for text in pages.values() for src, href in LOADS.findall(text)}
    assert len(pages) > 80
    assert any("stylesheets" in load for load in loads) and any(load.endswith(".js") for load in loads)
    assert [load for load in loads if re.match(r"\w+:|//", load)] == []
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", styles) == []
    reference = "".join(text for page, text in pages.items() if page.parent.name == "reference")
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "gift_core").rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files} - {"gift_core"}
    assert [name for name in sorted(modules) if f'id="{name}"' not in reference] == []
