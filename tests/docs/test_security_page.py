"""SECURITY.md names a test for each claim, and README links it."""

from __future__ import annotations

import re

from tests.imports import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_claim_names_a_test_that_exists() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| what", "|---"))]
    assert len(rows) == 11
    for row in rows:
        named = re.findall(r"tests/[\w/.]+", row.split("|")[-2])
        assert named, row
        assert all((ROOT / name.rstrip(".,")).exists() for name in named), row
