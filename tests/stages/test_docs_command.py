"""`gift docs`, and messages that name a guide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gift_core.shipped import guides
from stages.app import app
from stages.command_line import name_guides
from tests.imports import ROOT

RUNNER = CliRunner()


def test_every_guide_is_listed_with_its_title_and_shown_by_either_name() -> None:
    lines = RUNNER.invoke(app, ["docs"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
    assert "memory           Memory" in lines
    for name in ("memory", "docs/memory.md"):
        assert RUNNER.invoke(app, ["docs", name]).stdout.startswith("# Memory\n")
    assert "Did you mean 'memory'?" in RUNNER.invoke(app, ["docs", "memry"]).stderr


def test_every_page_that_code_and_presets_name_is_a_guide() -> None:
    files = [file for folder in ("gift_core", "stages", "presets") for file in (ROOT / folder).rglob("*.*")]
    texts = [file.read_text(encoding="utf-8") for file in files if file.suffix in (".py", ".yaml", ".j2")]
    named = set(re.findall(r"docs/(\w+)\.md", "\n".join(texts)))
    assert {"memory", "models", "team"} <= named <= set(guides())


def test_a_message_names_the_page_where_it_exists_else_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert name_guides("See docs/memory.md for the costs.") == "See `gift docs memory` for the costs."
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "memory.md").touch()
    assert name_guides("See docs/memory.md for the costs.") == "See docs/memory.md for the costs."
