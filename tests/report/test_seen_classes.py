"""The report of a class-incremental run: its result table, its chart and its table of steps."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from gift_core.config.loading import load_config
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.accuracy_tables import result_rows
from gift_core.report.build import accuracy_rows
from gift_core.report.curves import seen_chart
from gift_core.report.heat_tables import step_table
from gift_core.report.highlight import headline
from gift_core.report.page import render_page
from gift_core.report.run_record import RunRecord, read_run
from tests.report.run_folder import change_accuracies, write_seen_run, write_task_json

TASKS = ("first", "second", "third")
ZERO_SHOT = (80.0, 70.0, 60.0)
SEEN = {"finetune": (95.0, 60.0, 40.0), "gift": (90.0, 81.0, 72.0)}


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    config = write_seen_run(tmp_path, tasks=TASKS, zero_shot=ZERO_SHOT, seen=SEEN)
    for task, classes in zip(TASKS, (10, 20, 70), strict=True):
        write_task_json(Layout(tmp_path), task, classes=classes)
    return read_run(Layout(tmp_path), config)


def seen_of(record: RunRecord) -> pd.DataFrame:
    assert record.seen is not None
    return record.seen


def test_the_page_has_avg_and_last_alone_and_no_task_charts_and_no_matrices(record: RunRecord) -> None:
    rows = {row.name: [cell.text for cell in row.cells] for row in result_rows(record)}
    assert rows == {"Zero-shot": ["70.0", "60.0"], "Fine-tuning": ["65.0", "40.0"], "GIFT": ["81.0", "72.0"]}
    html = render_page(record)
    table = html[html.index('<table class="result">') : html.index("</table>")]
    assert re.findall(r'<th scope="col">(.*?)</th>', table) == ["Method", "Avg", "Last"]
    assert 'id="seen"' in html and 'href="#seen"' in html
    assert 'id="forgetting"' not in html and 'id="matrices"' not in html
    assert "Own task" not in html and "Transfer" not in html
    assert "".join(headline(record)) == (
        "After 3 steps of the miniature benchmark, GIFT has 72.0% accuracy on 100 classes and plain fine-tuning has "
        "40.0% (zero-shot model: 60.0%). Averaged over all steps, GIFT has 81.0% and plain fine-tuning has 65.0%."
    )
    assert record.metrics["gift"] == {"transfer": None, "avg": 81.0, "last": 72.0, "forgetting": None}
    rows = accuracy_rows(record)
    assert rows[rows.method == "zero_shot"].accuracy.tolist() == list(ZERO_SHOT)
    last = rows[(rows.method == "gift") & (rows.after_step == 3)].iloc[0]
    assert (last.after, last.task, last.phase, last.accuracy) == ("third", "classes seen", "current", 72.0)


def test_the_x_axis_counts_classes_seen_and_zero_shot_is_a_curve(record: RunRecord) -> None:
    chart = seen_chart(record, seen_of(record))
    frame = chart.frame
    assert [*chart.x_ticks.values()] == ["10", "30", "100"]
    expected = [frame.x(10), frame.y(80.0), frame.x(30), frame.y(70.0), frame.x(100), frame.y(60.0)]
    path = [float(value) for value in re.findall(r"[\d.]+", chart.zero_shot_path)]
    assert path == pytest.approx(expected, abs=0.05)
    assert {method for method, *_ in chart.lines} == {"finetune", "gift"}
    assert frame.y_min == 30.0 and frame.x_min == 10.0
    assert chart.hovers[30].splitlines() == [
        "After step 2 of 3\t30 classes", "Fine-tuning\t60.0", "GIFT\t81.0", "Zero-shot\t70.0",
    ]  # fmt: skip


def test_the_table_of_steps_has_every_accuracy_shaded_by_its_difference_to_zero_shot(record: RunRecord) -> None:
    rows = step_table(record, seen_of(record)).rows
    steps = [("1", "first", "10", "80.0"), ("2", "second", "30", "70.0"), ("3", "third", "100", "60.0")]
    assert [(row.number, row.name, *row.plain) for row in rows] == steps
    assert [" ".join(f"{cell.text} {cell.shade}" for cell in row.cells) for row in rows] == [
        "95.0 gain3 90.0 gain3", "60.0 loss3 81.0 gain3", "40.0 loss4 72.0 gain3",
    ]  # fmt: skip


def test_a_step_without_the_pretrained_model_is_refused(tmp_path: Path, record: RunRecord) -> None:
    change_accuracies(tmp_path, "finetune", "second", keep="step >= 0")
    with pytest.raises(ContractError, match="step -1 on second"):
        read_run(Layout(tmp_path), load_config(tmp_path / "params.yaml"))
