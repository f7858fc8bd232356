"""The report of a class-incremental run: its table, its chart, its steps, and what does not exist there."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.metrics_json import read_metrics
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report import build_report
from gift_core.report.drawing import thinned
from gift_core.report.gather import gather, spread_over
from gift_core.report.page import render_page
from gift_core.report.record import RunRecord
from gift_core.report.seen import seen_chart, step_table
from gift_core.report.table import result_rows
from gift_core.report.words import headline
from tests.report.run_folder import write_seen_run, write_task_json

TASKS = ("first", "second", "third")
ZERO_SHOT = (80.0, 70.0, 60.0)
SEEN = {"finetune": (95.0, 60.0, 40.0), "gift": (90.0, 81.0, 72.0)}


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    config = write_seen_run(tmp_path, tasks=TASKS, zero_shot=ZERO_SHOT, seen=SEEN)
    for task, classes in zip(TASKS, (10, 20, 70), strict=True):
        write_task_json(Layout(tmp_path), task, classes=classes)
    return gather(Layout(tmp_path), config)


def seen_of(record: RunRecord) -> pd.DataFrame:
    assert record.seen is not None
    return record.seen


def test_the_table_has_avg_and_last_alone(record: RunRecord) -> None:
    rows = {row.name: [figure.text for figure in row.figures] for row in result_rows(record)}
    assert rows == {"Zero-shot": ["70.0", "60.0"], "Fine-tuning": ["65.0", "40.0"], "GIFT": ["81.0", "72.0"]}
    html = render_page(record)
    table = html[html.index('<table class="result">') : html.index("</table>")]
    assert re.findall(r'<th scope="col">(.*?)</th>', table) == ["Method", "Avg", "Last"]


def test_metrics_json_has_neither_transfer_nor_forgetting(record: RunRecord, tmp_path: Path) -> None:
    from gift_core.config.loading import load_config

    build_report(Layout(tmp_path), load_config(tmp_path / "params.yaml"), tmp_path / "reports")
    gift = read_metrics(tmp_path / "reports/metrics.json")["gift"]
    assert gift == {"transfer": None, "avg": 81.0, "last": 72.0, "forgetting": None}
    rows = pd.read_csv(tmp_path / "reports/plots/accuracy.csv")
    assert rows[rows.method == "zero_shot"].accuracy.tolist() == list(ZERO_SHOT)
    last = rows[(rows.method == "gift") & (rows.after_step == 3)].iloc[0]
    assert (last.after, last.task, last.phase, last.accuracy) == ("third", "classes seen", "seen", 72.0)


def test_the_headline_counts_classes_and_steps(record: RunRecord) -> None:
    assert "".join(headline(record)) == (
        "After 3 steps GIFT tells 100 classes apart with 72.0% accuracy where plain fine-tuning has 40.0% "
        "(the untouched zero-shot model: 60.0%); over all steps its mean is 81.0% against 65.0%."
    )


def test_the_chart_stands_over_the_classes_seen_and_zero_shot_has_a_course(record: RunRecord) -> None:
    chart = seen_chart(record, seen_of(record))
    frame = chart.frame
    assert [tick.text for tick in chart.x_ticks] == ["10", "30", "100"]
    expected = [frame.x(10), frame.y(80.0), frame.x(30), frame.y(70.0), frame.x(100), frame.y(60.0)]
    path = [float(value) for value in re.findall(r"[\d.]+", chart.zero_shot_path)]
    assert path == pytest.approx(expected, abs=0.05)
    assert {line.method for line in chart.lines} == {"finetune", "gift"}
    assert frame.y_min == 30.0 and frame.x_min == 10.0
    assert chart.hovers[1].text.splitlines() == [
        "After step 2 of 3\t30 classes", "Fine-tuning\t60.0", "GIFT\t81.0", "Zero-shot\t70.0",
    ]  # fmt: skip


def test_the_table_of_steps_holds_every_accuracy_shaded_by_its_distance_to_zero_shot(record: RunRecord) -> None:
    table = step_table(record, seen_of(record))
    assert [(row.number, row.task, row.classes, row.zero_shot) for row in table.rows] == [
        (1, "first", 10, "80.0"), (2, "second", 30, "70.0"), (3, "third", 100, "60.0"),
    ]  # fmt: skip
    cells = [[(cell.text, cell.shade) for cell in row.cells] for row in table.rows]
    assert cells == [
        [("95.0", "gain3"), ("90.0", "gain3")],
        [("60.0", "loss3"), ("81.0", "gain3")],
        [("40.0", "loss4"), ("72.0", "gain3")],
    ]


def test_there_are_no_charts_by_task_and_no_matrices(record: RunRecord) -> None:
    html = render_page(record)
    assert 'id="seen"' in html and 'href="#seen"' in html
    assert 'id="forgetting"' not in html and 'id="matrices"' not in html
    assert "Own task" not in html and "Transfer" not in html


def test_one_step_is_reported(tmp_path: Path) -> None:
    config = write_seen_run(tmp_path, tasks=("only",), zero_shot=(50,), seen={"gift": (75,)})
    html = render_page(gather(Layout(tmp_path), config))
    assert "After 1 step GIFT tells 10 classes apart with 75.0% accuracy" in html


def test_a_zero_shot_method_is_the_reference_itself(tmp_path: Path) -> None:
    config = write_seen_run(tmp_path, tasks=TASKS, zero_shot=ZERO_SHOT, seen={"zero_shot": (79, 69, 59), **SEEN})
    record = gather(Layout(tmp_path), config)
    assert record.methods == ("finetune", "gift")
    assert seen_of(record)["zero_shot"].tolist() == pytest.approx([79, 69, 59])


def test_fifty_steps_are_shown_folded_and_their_pairs_in_a_fair_choice(tmp_path: Path) -> None:
    tasks = tuple(f"step_{number:02d}" for number in range(50))
    course = [90 - 0.5 * step for step in range(50)]
    config = write_seen_run(tmp_path, tasks=tasks, zero_shot=course, seen={"gift": course})
    record = gather(Layout(tmp_path), config)
    html = render_page(record)
    assert step_table(record, seen_of(record)).is_long
    assert len(record.sheets) == 12 and [record.sheets[at].task for at in (0, -1)] == ["step_00", "step_49"]
    assert "Of 12 of the 50 tasks, evenly apart." in html
    ticks = [tick.text for tick in seen_chart(record, seen_of(record)).x_ticks]
    assert len(ticks) <= 12 and ticks[0] == "10" and ticks[-1] == "500"
    sequence = next(fact.value for fact in record.facts if fact.name == "Sequence")
    assert sequence.startswith("50 tasks: step_00") and "500 classes and 25,000 test images" in sequence


@pytest.mark.parametrize(
    ("count", "most", "kept"),
    [
        (3, 12, [0, 1, 2]),
        (20, 12, [*range(0, 18, 2), 19]),
        (50, 12, [*range(0, 50, 5), 49]),
        (13, 12, [*range(0, 13, 2)]),
    ],
)
def test_ticks_are_thinned_evenly_with_both_ends(count: int, most: int, kept: list[int]) -> None:
    assert thinned(range(count), most) == kept


def test_shown_positions_are_spread_with_both_ends() -> None:
    assert spread_over(5, 12) == [0, 1, 2, 3, 4]
    assert spread_over(23, 12) == list(range(0, 23, 2))


def test_rows_of_the_other_protocol_are_refused_with_both_names(tmp_path: Path, record: RunRecord) -> None:
    from gift_core.config.loading import load_config

    params = (tmp_path / "params.yaml").read_text().replace("class_incremental", "task_incremental")
    (tmp_path / "params.yaml").write_text(params)
    with pytest.raises(ContractError, match=r"are class_incremental, evaluation\.protocol is task_incremental"):
        gather(Layout(tmp_path), load_config(tmp_path / "params.yaml"))


def test_a_step_without_the_pretrained_model_is_named(tmp_path: Path) -> None:
    config = write_seen_run(tmp_path, tasks=TASKS, zero_shot=ZERO_SHOT, seen=SEEN)
    path = Layout(tmp_path).accuracy("finetune", "second")
    rows, metadata = read_accuracy(path)
    write_accuracy(path, rows[rows.step >= 0], metadata)
    with pytest.raises(ContractError, match="step -1 on seen:second"):
        gather(Layout(tmp_path), config)


def test_pairs_that_the_gates_turned_away_are_counted(tmp_path: Path) -> None:
    import json

    config = write_seen_run(tmp_path, tasks=TASKS, zero_shot=ZERO_SHOT, seen=SEEN)
    manifest = Layout(tmp_path).shards("second") / "manifest.json"
    counts = {"rejected": {"clip_score": 1200, "duplicate": 3}}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | counts))
    html = render_page(gather(Layout(tmp_path), config))
    assert "24 of 30 pairs, 2 drawn again; turned away: 1,200 by the CLIP score, 3 by likeness to another" in html
    assert html.count("turned away") == 1
