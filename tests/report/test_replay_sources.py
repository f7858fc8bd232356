"""Where the prompts of each step come from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gift_core.artifacts.prompt_files import write_prompts
from gift_core.layout import Layout
from gift_core.report.page import render_page
from gift_core.report.picture_sections import read_pictures
from gift_core.report.replay_sources import SourceTable, read_source_table
from gift_core.report.run_record import read_run
from tests.report.run_folder import TASKS, write_pictures, write_run


def write_sources(layout: Layout, step: str, sources: list[str]) -> None:
    rows = {"prompt_id": range(len(sources)), "source_task": sources, "class_name": "a", "template": "{}"}
    write_prompts(layout.prompts(step), pd.DataFrame({**rows, "prompt": "a", "seed": 0}))


def counts(table: SourceTable) -> list[tuple[str, int, list[str]]]:
    return [(row.task, row.total, [cell.text for cell in row.cells]) for row in table.rows]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    write_sources(layout, "letters", ["base"] * 4)
    write_sources(layout, "textures", ["base", "letters", "base", "base"])
    write_sources(layout, "zodiac", ["textures", "letters", "textures", "base"])
    return layout


def test_the_prompts_of_each_step_are_counted_by_source(layout: Layout) -> None:
    table = read_source_table(layout, TASKS)
    assert table.sources == ("base vocabulary", "letters", "textures")
    assert counts(table) == [
        ("letters", 4, ["4", "", ""]),
        ("textures", 4, ["3", "1", ""]),
        ("zodiac", 4, ["1", "1", "2"]),
    ]
    assert [cell.shade for cell in table.rows[1].cells] == ["gain4", "gain2", "same"]
    assert table.rows[1].cells[0].exact == "base vocabulary\n3 prompts\t75%"


def test_a_step_whose_prompts_are_not_here_is_named(layout: Layout) -> None:
    layout.prompts("textures").unlink()
    table = read_source_table(layout, TASKS)
    assert (table.missing, [row.number for row in table.rows]) == (("textures",), [1, 3])


def test_a_long_sequence_sums_the_earlier_tasks(tmp_path: Path) -> None:
    layout, tasks = Layout(tmp_path), tuple(f"t{number:02d}" for number in range(30))
    for number, task in enumerate(tasks):
        write_sources(layout, task, ["base", "base", *tasks[:number]])
    table = read_source_table(layout, tasks)
    assert table.sources == ("base vocabulary", "earlier tasks")
    assert (len(table.rows), counts(table)[0], counts(table)[-1]) == (
        12, ("t00", 2, ["2", ""]), ("t29", 31, ["2", "29"]),
    )  # fmt: skip


def test_the_page_has_the_table_and_labels_the_examples(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    write_pictures(Layout(tmp_path), config)
    record = read_run(Layout(tmp_path), config)
    html = render_page(record, read_pictures(Layout(tmp_path), record))
    assert "Where the prompts come from" in html
    assert html.count("<h4>base vocabulary ") == 3 and html.count("<h4>letters ") == 2
