"""The site of `make docs`: it builds strictly, and its reference has every module."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clone import Clone
from tests.imports import ROOT

pytest.importorskip("mkdocstrings", reason="needs the extra docs")
pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. `mkdocs build --strict` fails for a broken link or anchor, and for a page that is not in nav."""
    folder = tmp_path_factory.mktemp("site")
    # Without --quiet, which hides the warnings that --strict counts.
    Clone(ROOT).run(sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder))
    return folder


def test_the_reference_has_every_module(site: Path) -> None:
    reference = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").rglob("*.html"))
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "gift_core").rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files} - {"gift_core"}
    assert [name for name in sorted(modules) if f'id="{name}"' not in reference] == []
