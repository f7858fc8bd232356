"""Transfer, Avg, Last, Forgetting: by hand, and on the published matrices to the printed digit."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from gift_core.errors import UserError
from gift_core.method.metrics import (
    METRICS,
    accuracy_curve,
    probe_scores,
    probe_tables,
    summarize,
    with_zero_shot,
)
from tests.imports import ROOT

Rows = pd.DataFrame
PUBLISHED = ROOT / "gift_core" / "report" / "published" / "mtil_order_1_accuracy.csv"
# Transfer / Avg / Last as the papers print them (MTIL, order I, CLIP ViT-B/16).
PRINTED = {
    "zero_shot": (69.4, 65.3, 65.3),
    "finetune": (44.6, 55.9, 77.3),
    "lwf": (56.9, 64.7, 74.6),
    "icarl": (50.4, 65.7, 80.1),
    "lwf_vr": (57.2, 65.1, 76.6),
    "wise_ft": (52.3, 60.7, 77.7),
    "zscl_star": (62.2, 72.6, 84.5),
    "zscl": (68.1, 75.4, 83.6),
}
MATRIX = [[0.9, 0.4, 0.5], [0.8, 0.7, 0.3], [0.6, 0.5, 0.8]]
# Of each task of MATRIX, and of all, in percent.
BY_TASK = {
    "transfer": [None, 40.0, 40.0],
    "avg": [230 / 3, 160 / 3, 160 / 3],
    "last": [60.0, 50.0, 80.0],
    "forgetting": [30.0, 20.0, None],
}
CURVE = [0.9, 0.75, 0.6]
OF_MATRIX = {"transfer": 40.0, "avg": 550 / 9, "last": 190 / 3, "forgetting": 25.0}


def rows_of(
    matrix: Sequence[Sequence[float]], method: str = "gift", tasks: str = "abc", *, first: int = 0, tested: str = ""
) -> Rows:
    """A row for each accuracy of a matrix, of which the first row is of step `first`, on the tasks or on `tested`."""
    return pd.DataFrame(
        [
            {"step": step, "trained_task": tasks[step] if step >= 0 else "pretrained", "eval_task": task, "top1": value}
            for step, row in enumerate(matrix, first)
            for task, value in zip(tested or tasks, row, strict=False)
        ]
    ).assign(method=method, protocol="task_incremental")


def metrics_by_method(rows: Rows) -> dict[str, dict[str, float | None]]:
    return {method: summary.metrics for method, summary in summarize(rows).items()}


def before(*values: float, method: str = "gift") -> Rows:
    """The accuracies of the pre-trained model on the first tasks."""
    return rows_of([values], method, first=-1)


def curve_before(*values: float) -> Rows:
    return rows_of([values], "cil", "zyx", first=-1).assign(protocol="class_incremental")


def curve_rows(method: str = "cil") -> Rows:
    """Step by step, the accuracy on the newest task alone."""
    rows = pd.concat(rows_of([[value]], method, "zyx", first=at, tested="zyx"[at]) for at, value in enumerate(CURVE))
    return rows.assign(protocol="class_incremental")


@pytest.mark.parametrize("method", sorted(PRINTED))
def test_published_matrices_give_the_printed_numbers(method: str) -> None:
    rows = pd.read_csv(PUBLISHED)
    found = summarize(rows.assign(protocol="task_incremental", top1=rows["top1_percent"] / 100))[method]
    assert tuple(round(found.metrics[name], 1) for name in ("transfer", "avg", "last")) == PRINTED[method]
    for name, value in found.metrics.items():  # they are the means of the numbers by task
        existing = [row[name] for row in found.by_task.values() if row[name] is not None]
        assert sum(existing) / len(existing) == pytest.approx(value)
    assert method != "zero_shot" or found.metrics["forgetting"] == pytest.approx(0)


@pytest.mark.parametrize("tasks", ["abc", "cab"])
def test_metrics_by_hand_in_the_order_of_the_steps_not_of_the_rows_or_letters(tasks: str) -> None:
    found = summarize(rows_of(MATRIX, tasks=tasks).sample(frac=1, random_state=0))["gift"]
    assert list(found.accuracies.index) == list(found.accuracies.columns) == list(found.by_task) == list(tasks)
    assert found.metrics == pytest.approx(OF_MATRIX)
    for name in METRICS:
        assert [row[name] for row in found.by_task.values()] == [
            value and pytest.approx(value) for value in BY_TASK[name]
        ]
    one_task = metrics_by_method(rows_of([[0.75]], tasks="a"))["gift"]
    assert one_task == {"transfer": None, "avg": 75.0, "last": 75.0, "forgetting": None}


def test_class_incremental_metrics_by_hand_beside_another_protocol() -> None:
    expected = {"transfer": None, "avg": pytest.approx(75.0), "last": pytest.approx(60.0), "forgetting": None}
    found = metrics_by_method(pd.concat([curve_rows()[::-1], rows_of(MATRIX)]))
    assert found == {"cil": expected, "gift": pytest.approx(OF_MATRIX)}
    assert summarize(curve_rows())["cil"].by_task == {}
    assert accuracy_curve(curve_rows()[::-1], "cil").to_dict() == {"z": 0.9, "y": 0.75, "x": 0.6}


def test_the_pretrained_model_becomes_the_zero_shot_method() -> None:
    rows = pd.concat([before(0.5, 0.6, 0.8, method=name) for name in ("gift", "finetune")])
    rows = pd.concat([rows, rows_of(MATRIX), rows_of(MATRIX, "finetune")])
    metrics = metrics_by_method(rows)
    assert list(metrics) == ["zero_shot", "gift", "finetune"]
    assert metrics["zero_shot"] == pytest.approx({"transfer": 70.0, "avg": 190 / 3, "last": 190 / 3, "forgetting": 0.0})
    assert set(with_zero_shot(rows)["step"]) == {0, 1, 2}
    alone = metrics_by_method(pd.concat([before(0.5, 0.6, 0.7, method="clip"), rows_of(MATRIX)]))
    assert list(alone) == ["zero_shot", "gift"] and alone["zero_shot"]["avg"] == pytest.approx(60.0)


def test_the_pretrained_model_has_its_own_accuracy_at_each_class_incremental_step() -> None:
    """Of two methods, its rows beside the first one are taken."""
    other = pd.concat([curve_rows(), curve_before(0.1, 0.1, 0.1)]).assign(method="other")
    rows = pd.concat([curve_rows(), curve_before(0.8, 0.6, 0.7), other])
    metrics = metrics_by_method(rows)
    assert metrics["zero_shot"] == pytest.approx({"transfer": None, "avg": 70.0, "last": 70.0, "forgetting": None})
    assert {method: row["last"] for method, row in metrics.items()} == pytest.approx(
        {"zero_shot": 70.0, "cil": 60.0, "other": 60.0}
    )
    assert accuracy_curve(with_zero_shot(rows), "zero_shot").to_dict() == {"z": 0.8, "y": 0.6, "x": 0.7}


def probe_rows(method: str = "gift", protocol: str = "task_incremental") -> Rows:
    """The pre-trained model and three steps on two tasks that no step learns."""
    matrix = [(0.8, 0.6), (0.75, 0.6), (0.7, 0.5), (0.5, 0.7)]
    return rows_of(matrix, method, first=-1, tested="pq").assign(protocol=protocol, phase="probe")


def test_probes_by_hand_which_change_no_other_metric() -> None:
    found = summarize(pd.concat([before(0.5, 0.6, 0.8), rows_of(MATRIX), probe_rows()], ignore_index=True))
    assert found["gift"].metrics == pytest.approx(OF_MATRIX)
    tables = {method: summary.probes for method, summary in found.items()}
    gift, zero_shot = tables["gift"], tables["zero_shot"]
    assert gift.index.tolist() == [-1, 0, 1, 2] and gift["p"].tolist() == [0.8, 0.75, 0.7, 0.5]
    # the mean of 50 and 70; 70 before; one probe has lost 30 points, the other has gained 10
    assert probe_scores(100 * gift) == {
        "mean": pytest.approx(60.0), "change": pytest.approx(-10.0), "by_task": pytest.approx({"p": 50.0, "q": 70.0}),
    }  # fmt: skip
    assert probe_scores(100 * zero_shot)["change"] == 0 and zero_shot["q"].tolist() == [0.6] * 4
    seen = pd.concat([curve_rows(), probe_rows("cil", "class_incremental").replace({"a": "z", "b": "y", "c": "x"})])
    assert probe_tables(seen)["cil"].equals(gift)
    assert probe_tables(rows_of(MATRIX)) == {} and summarize(rows_of(MATRIX))["gift"].probes is None


ROWS, CURVE_ROWS = rows_of(MATRIX), curve_rows()
# By the message, the rows that it is about.
REFUSED: dict[str, Rows] = {
    "missing: step -1 on the probe p": pd.concat([ROWS, probe_rows()[1:]]),
    "gift: protocol is class_incremental and task_incremental": pd.concat([curve_rows("gift"), ROWS]),
    r"accuracies of cil: missing: step -1 on x\. Add these rows": pd.concat([CURVE_ROWS, curve_before(0.8, 0.6)]),
    r"accuracies of gift: missing: step -1 on c\. Add these rows": pd.concat([before(0.5, 0.6), ROWS]),
    "no task was tested before its own step, so Transfer": ROWS[ROWS["eval_task"] <= ROWS["trained_task"]],
    r"steps are 0 \(a\), 1 \(b\), 2 \(c\), 3 \(a\); expected": pd.concat([ROWS, ROWS[:3].assign(step=3)]),
    r"gift: missing: step 1 on c, step 2 on a\. Run stage evaluate, or add": ROWS.drop([5, 6]),
    r"steps are 0 \(a\), 2 \(c\); expected 0, 1, 2": ROWS[ROWS["step"] != 1],
    "evaluated on z, which no step trained": pd.concat([ROWS, ROWS.iloc[[0]].assign(eval_task="z")]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_rows_that_are_no_whole_evaluation_are_refused_by_name(message: str) -> None:
    with pytest.raises(UserError, match=message):
        metrics_by_method(REFUSED[message])
