"""The published tables: their contents, that they agree with each other, and that REPRODUCIBILITY.md has every row."""

from __future__ import annotations

import pytest

from gift_core.report.published import mtil
from gift_core.report.published.mtil import METRICS, ORDER_1, ORDER_2, Benchmark, summary
from tests.imports import ROOT


def test_a_benchmark_is_known_by_exactly_its_eleven_data_sets() -> None:
    assert sorted(ORDER_1.data_sets) == sorted(ORDER_2.data_sets)
    assert len(set(ORDER_1.data_sets)) == 11
    assert [mtil.benchmark_of(list(order.data_sets)) for order in (ORDER_1, ORDER_2)] == [ORDER_1, ORDER_2]
    assert mtil.benchmark_of(ORDER_1.data_sets[:-1]) is mtil.benchmark_of(ORDER_1.data_sets[::-1]) is None


@pytest.mark.parametrize(
    ("benchmark", "gift", "zero"), [(ORDER_1, (69.3, 77.3, 86.0), 69.4), (ORDER_2, (65.9, 75.7, 85.3), 65.4)]
)
def test_the_summary_has_all_methods_and_sources(benchmark: Benchmark, gift: tuple[float, ...], zero: float) -> None:
    table, later = summary(benchmark), mtil.recent(benchmark)
    assert tuple(table.loc["gift", list(METRICS)]) == tuple(later.loc["GIFT", list(METRICS)]) == gift
    assert table.loc["zero_shot", "transfer"] == zero
    assert len(table) == 9 and table["source"].str.contains("2503.04229").all()
    assert later[["kind", "read_from", "source"]].notna().all(axis=None)


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
