"""Transfer, Avg, Last, Forgetting: by hand, and on the published matrices to the printed digit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from gift_core.artifacts.accuracy_rows import protocol_of
from gift_core.errors import UserError
from gift_core.metrics import (
    accuracy_curve,
    accuracy_matrix,
    avg_by_task,
    curve_scores,
    forgetting_by_task,
    last_by_task,
    matrix_scores,
    metrics_by_method,
    summarize,
    transfer_by_task,
    with_zero_shot,
)

PUBLISHED = Path(__file__).parents[1] / "gift_core" / "published" / "mtil_order_1_accuracy.csv"
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


def published() -> pd.DataFrame:
    rows = pd.read_csv(PUBLISHED)
    return rows.assign(protocol="task_incremental", top1=rows["top1_percent"] / 100)


def rows_of(matrix: list[list[float]], method: str = "gift", tasks: str = "abc") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": method, "step": step, "trained_task": tasks[step], "eval_task": tasks[column], "top1": value}
            for step, row in enumerate(matrix)
            for column, value in enumerate(row)
        ]
    ).assign(protocol="task_incremental")


MATRIX = [[0.9, 0.4, 0.5], [0.8, 0.7, 0.3], [0.6, 0.5, 0.8]]


@pytest.mark.parametrize("method", sorted(PRINTED))
def test_published_matrices_give_the_printed_numbers(method: str) -> None:
    metrics = metrics_by_method(published())[method]
    assert tuple(round(metrics[name], 1) for name in ("transfer", "avg", "last")) == PRINTED[method]


def test_zero_shot_forgets_nothing() -> None:
    assert metrics_by_method(published())["zero_shot"]["forgetting"] == pytest.approx(0)


def test_metrics_by_hand() -> None:
    metrics = matrix_scores(accuracy_matrix(rows_of(MATRIX), "gift"))
    assert metrics["transfer"] == pytest.approx((0.4 + (0.5 + 0.3) / 2) / 2)
    assert metrics["avg"] == pytest.approx(5.5 / 9)
    assert metrics["last"] == pytest.approx((0.6 + 0.5 + 0.8) / 3)
    assert metrics["forgetting"] == pytest.approx(((0.9 - 0.6) + (0.7 - 0.5)) / 2)


def test_rows_by_task() -> None:
    matrix = accuracy_matrix(rows_of(MATRIX), "gift")
    assert transfer_by_task(matrix).to_dict() == pytest.approx({"b": 0.4, "c": 0.4})
    assert avg_by_task(matrix).to_dict() == pytest.approx({"a": 2.3 / 3, "b": 1.6 / 3, "c": 1.6 / 3})
    assert last_by_task(matrix).to_dict() == pytest.approx({"a": 0.6, "b": 0.5, "c": 0.8})
    assert forgetting_by_task(matrix).to_dict() == pytest.approx({"a": 0.3, "b": 0.2})


def test_rows_by_task_are_percent_and_none_where_a_number_does_not_exist() -> None:
    by_task = summarize(rows_of(MATRIX))["gift"].by_task
    assert list(by_task) == ["a", "b", "c"]
    assert by_task["b"] == pytest.approx({"transfer": 40.0, "avg": 160 / 3, "last": 50.0, "forgetting": 20.0})
    assert by_task["a"]["transfer"] is None and by_task["c"]["forgetting"] is None


@pytest.mark.parametrize("method", sorted(PRINTED))
def test_published_rows_by_task_have_the_metrics_as_their_means(method: str) -> None:
    by_task = summarize(published())[method].by_task.values()
    for name, value in metrics_by_method(published())[method].items():
        existing = [row[name] for row in by_task if row[name] is not None]
        assert sum(existing) / len(existing) == pytest.approx(value)


CURVE = [0.9, 0.75, 0.6]


def curve_rows(method: str = "cil") -> pd.DataFrame:
    steps = pd.DataFrame({"step": [0, 1, 2], "trained_task": list("zyx"), "eval_task": list("zyx"), "top1": CURVE})
    return steps.assign(method=method, protocol="class_incremental")


def test_class_incremental_metrics_by_hand() -> None:
    expected = {"transfer": None, "avg": pytest.approx(75.0), "last": pytest.approx(60.0), "forgetting": None}
    assert metrics_by_method(curve_rows()) == {"cil": expected}
    assert summarize(curve_rows())["cil"].by_task == {}


def test_class_incremental_accuracies_are_in_the_order_of_the_steps() -> None:
    accuracies = accuracy_curve(curve_rows()[::-1], "cil")
    assert accuracies.to_dict() == {"z": 0.9, "y": 0.75, "x": 0.6}
    assert curve_scores(accuracies)["last"] == 0.6


def test_methods_of_both_protocols_are_measured_together() -> None:
    both = metrics_by_method(pd.concat([curve_rows(), rows_of(MATRIX)]))
    assert both == metrics_by_method(curve_rows()) | metrics_by_method(rows_of(MATRIX))


def test_a_class_incremental_step_given_twice_is_named() -> None:
    rows = curve_rows()
    with pytest.raises(UserError, match="given twice: step 1 on y"):
        metrics_by_method(pd.concat([rows, rows[1:2]]))


def test_a_method_of_both_protocols_is_refused() -> None:
    with pytest.raises(UserError, match="accuracies of gift: protocol is class_incremental and task_incremental"):
        metrics_by_method(pd.concat([curve_rows("gift"), rows_of(MATRIX)]))


def curve_before(*values: float) -> pd.DataFrame:
    rows = pd.DataFrame({"eval_task": list("zyx")[: len(values)], "top1": values})
    return rows.assign(method="cil", protocol="class_incremental", step=-1, trained_task="pretrained")


def test_the_pretrained_model_has_its_own_accuracy_at_each_class_incremental_step() -> None:
    rows = pd.concat([curve_rows(), curve_before(0.8, 0.6, 0.7)])
    metrics = metrics_by_method(rows)
    assert list(metrics) == ["zero_shot", "cil"]
    assert metrics["zero_shot"] == pytest.approx({"transfer": None, "avg": 70.0, "last": 70.0, "forgetting": None})
    assert accuracy_curve(with_zero_shot(rows), "zero_shot").to_dict() == {"z": 0.8, "y": 0.6, "x": 0.7}
    assert protocol_of(rows, "cil") == "class_incremental"


def test_of_two_methods_the_pretrained_rows_of_the_first_are_taken() -> None:
    other = pd.concat([curve_rows(), curve_before(0.1, 0.1, 0.1)]).assign(method="other")
    rows = pd.concat([curve_rows(), curve_before(0.8, 0.6, 0.7), other])
    assert {method: row["last"] for method, row in metrics_by_method(rows).items()} == pytest.approx(
        {"zero_shot": 70.0, "cil": 60.0, "other": 60.0}
    )


def test_a_step_without_the_pretrained_model_is_named() -> None:
    with pytest.raises(UserError, match=r"accuracies of cil: missing: step -1 on x\. Add these rows"):
        metrics_by_method(pd.concat([curve_rows(), curve_before(0.8, 0.6)]))


def test_the_order_of_the_tasks_is_that_of_the_steps_not_of_the_rows_or_letters() -> None:
    shuffled = rows_of(MATRIX, tasks="cab").sample(frac=1, random_state=0)
    matrix = accuracy_matrix(shuffled, "gift")
    assert list(matrix.index) == list(matrix.columns) == ["c", "a", "b"]
    assert matrix_scores(matrix) == matrix_scores(accuracy_matrix(rows_of(MATRIX), "gift"))


def test_one_task_has_neither_transfer_nor_forgetting() -> None:
    metrics = metrics_by_method(rows_of([[0.75]], tasks="a"))["gift"]
    assert metrics == {"transfer": None, "avg": 75.0, "last": 75.0, "forgetting": None}


def test_the_pretrained_model_becomes_the_zero_shot_method() -> None:
    before = pd.DataFrame(
        [
            {"method": method, "step": -1, "trained_task": "pretrained", "eval_task": task, "top1": value}
            for method in ("gift", "finetune")
            for task, value in zip("abc", (0.5, 0.6, 0.8), strict=True)
        ]
    ).assign(protocol="task_incremental")
    rows = pd.concat([before, rows_of(MATRIX), rows_of(MATRIX, "finetune")])
    metrics = metrics_by_method(rows)
    assert list(metrics) == ["zero_shot", "gift", "finetune"]
    assert metrics["zero_shot"] == pytest.approx({"transfer": 70.0, "avg": 190 / 3, "last": 190 / 3, "forgetting": 0.0})
    assert set(with_zero_shot(rows)["step"]) == {0, 1, 2}


def test_the_pretrained_model_may_be_the_only_method() -> None:
    before = rows_of([[0.5, 0.6, 0.7]], "clip").assign(step=-1, trained_task="pretrained")
    metrics = metrics_by_method(pd.concat([before, rows_of(MATRIX)]))
    assert list(metrics) == ["zero_shot", "gift"]
    assert metrics["zero_shot"]["avg"] == pytest.approx(60.0)


def test_a_task_that_the_pretrained_model_was_not_tested_on_is_named() -> None:
    before = rows_of([[0.5, 0.6]]).assign(step=-1, trained_task="pretrained")
    with pytest.raises(UserError, match=r"accuracies of gift: missing: step -1 on c\. Add these rows"):
        with_zero_shot(pd.concat([before, rows_of(MATRIX)]))


def test_a_triangle_of_past_tasks_is_refused_with_the_reason() -> None:
    rows = rows_of(MATRIX)
    with pytest.raises(UserError, match="no task was tested before its own step, so Transfer and Avg do not exist"):
        accuracy_matrix(rows[rows["eval_task"] <= rows["trained_task"]], "gift")


def test_a_task_trained_twice_is_named() -> None:
    again = rows_of(MATRIX)[:3].assign(step=3)
    with pytest.raises(UserError, match="trained on a in more than one step"):
        accuracy_matrix(pd.concat([rows_of(MATRIX), again]), "gift")


def test_missing_rows_are_named() -> None:
    with pytest.raises(
        UserError, match=r"accuracies of gift: missing: step 1 on c, step 2 on a\. Run stage evaluate, or add"
    ):
        accuracy_matrix(rows_of(MATRIX).drop([5, 6]), "gift")


def test_rows_given_twice_are_named() -> None:
    rows = rows_of(MATRIX)
    with pytest.raises(UserError, match="given twice: step 1 on b"):
        accuracy_matrix(pd.concat([rows, rows.iloc[[4]]]), "gift")


def test_a_missing_step_is_named() -> None:
    rows = rows_of(MATRIX)
    with pytest.raises(UserError, match=r"steps are 0 \(a\), 2 \(c\); expected 0, 1, 2"):
        accuracy_matrix(rows[rows["step"] != 1], "gift")


def test_a_task_that_no_step_trained_is_named() -> None:
    rows = rows_of(MATRIX)
    extra = rows.iloc[[0]].assign(eval_task="z")
    with pytest.raises(UserError, match=r"evaluated on z, which no step trained"):
        accuracy_matrix(pd.concat([rows, extra]), "gift")


def test_metrics_do_not_import_torch() -> None:
    code = "import sys, gift_core.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PUBLISHED.parents[2])
