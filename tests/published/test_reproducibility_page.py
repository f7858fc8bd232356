"""REPRODUCIBILITY.md has every published row of MTIL with its number, and a command for each benchmark of the paper."""

from __future__ import annotations

import re

import pytest

from gift_core.published.mtil import METRICS, ORDER_1, ORDER_2, Benchmark, summary
from tests.imports import ROOT

PAGE = (ROOT / "REPRODUCIBILITY.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip(" *") for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(("heading", "order"), [("MTIL, order I\n", ORDER_1), ("MTIL, order II\n", ORDER_2)])
def test_every_published_row_is_there_with_its_number(heading: str, order: Benchmark) -> None:
    published = {
        str(method): " / ".join(f"{numbers[metric]:.1f}" for metric in METRICS)
        for method, numbers in summary(order).iterrows()
    }
    found = {method: number for method, number, *_ in rows(heading)}
    assert {method: found.get(method) for method in published} == published


def test_every_class_incremental_preset_has_a_row() -> None:
    commands = [row[-1] for row in rows("Class-incremental")]
    presets = sorted(path.stem for path in (ROOT / "presets").glob("cil_*.yaml"))
    assert sorted(re.findall(r"`gift use (\w+)`", " ".join(commands))) == presets
