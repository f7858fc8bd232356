"""What evaluate and report write: accuracies and predictions of a step, and metrics.json.

Accuracy tables from any source: stages/test_metrics_command.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy
from gift_core.artifacts.contract import write_json
from gift_core.artifacts.predictions import (
    prediction_rows,
    read_predictions,
    retrieval_rows,
    write_predictions,
)
from gift_core.artifacts.report_json import (
    metrics_content,
    one_decimal,
    read_metrics,
    rounded,
)

METADATA = {"task:letters": "abc", "model:pretrained": "def"}
CLASSES = ("alpha", "beta", "gamma")
OWN = {"method": "gift", "protocol": "task_incremental", "step": 0, "trained_task": "letters", "task": "letters"}
LABELS = np.array([0, 1, 2, 1])


def rows_of(predicted: list[int], **changes: Any) -> pd.DataFrame:
    return prediction_rows(
        {**OWN, **changes}, images=np.arange(4), labels=LABELS, predicted=np.array(predicted), classes=CLASSES
    )


START = rows_of([0, 0, 0, 0], step=-1, trained_task="pretrained")
ROWS = pd.concat([START, rows_of([0, 1, 2, 2])], ignore_index=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "gift" / "letters.parquet"
    write_predictions(written, ROWS, METADATA)
    return written


def test_predictions_are_read_by_step_with_their_metadata(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "letters.parquet"
    write_predictions(other, pd.concat([ROWS[4:], ROWS[:4]]), dict(reversed(METADATA.items())))
    assert path.read_bytes() == other.read_bytes()
    rows, metadata = read_predictions(path)
    assert rows.astype({name: str for name in rows if name not in ("step", "image")}).to_dict("records") == (
        ROWS.to_dict("records")
    )
    assert metadata == METADATA
    assert list(rows.label[:4].astype(str)) == ["alpha", "beta", "gamma", "beta"]
    assert list(rows.predicted[4:].astype(str)) == ["alpha", "beta", "gamma", "gamma"]


def test_a_file_with_pairs_has_their_ranks_beside_the_classes(tmp_path: Path) -> None:
    """Two images with three captions: one image and two captions retrieve what is right."""
    path, pairs = tmp_path / "gift" / "letters.parquet", {**OWN, "task": "pets"}
    of_images = retrieval_rows(
        pairs, "image", [0, 1], right=[0, 1], found=[0, 0], ranks=[1, 3], answers=[[0, 1, -1], [1, 0, 2]]
    )
    of_captions = retrieval_rows(
        pairs, "caption", [0, 1, 2], right=[0, 0, 1], found=[0, 1, 1], ranks=[1, 2, 1], answers=[[0, 1], [1, 0], [1, 0]]
    )
    write_predictions(path, pd.concat([rows_of([0, 1, 2, 2]), of_images, of_captions]), METADATA)
    rows, _ = read_predictions(path)
    assert rows["query"].tolist() == ["class"] * 4 + ["image"] * 2 + ["caption"] * 3
    assert rows["rank"].tolist() == [0] * 4 + [1, 3, 1, 2, 1]
    assert [list(found) for found in rows["retrieved"]][3:6] == [[], [0, 1], [1, 0, 2]]


def row(**changes: Any) -> dict[str, Any]:
    own = {"eval_task" if name == "task" else name: value for name, value in OWN.items()}
    return {**own, "phase": "current", "top1": 0.75, "n": 500, **changes}


TESTED_FIRST = row(step=-1, trained_task="pretrained", phase="pretrained", top1=0.5)


@pytest.mark.parametrize("protocol", ["task_incremental", "class_incremental"])
def test_accuracies_are_read_by_step_with_their_metadata(protocol: str, tmp_path: Path) -> None:
    probes = [{**TESTED_FIRST, "phase": "probe", "eval_task": "faces"}, row(phase="probe", eval_task="faces")]
    expected = pd.DataFrame([probes[0], TESTED_FIRST, probes[1], row()]).assign(protocol=protocol)
    write_accuracy(tmp_path / "gift" / "letters.parquet", expected.iloc[[2, 3, 0, 1]], METADATA)
    rows, metadata = read_accuracy(tmp_path / "gift" / "letters.parquet")
    assert rows.to_dict("records") == expected.to_dict("records")
    assert metadata == METADATA
    write_accuracy(tmp_path / "again", expected, dict(reversed(METADATA.items())))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "gift" / "letters.parquet").read_bytes()


GIFT = {"transfer": 65.123, "avg": 70.0, "last": 80.5, "forgetting": -1.25}


def test_metrics_are_read_in_their_order_with_four_decimals(tmp_path: Path) -> None:
    probes = {"mean": 57.0, "loss": 12.7, "by_task": {"faces": 50.0, "arrows": 64.0}}
    path = tmp_path / "metrics.json"
    one_task = {**GIFT, "transfer": None, "forgetting": None, "probes": probes}
    first = {**GIFT, "transfer": 65.12344}
    write_json(path, metrics_content({"zero_shot": dict(reversed(first.items())), "gift": one_task}))
    found = read_metrics(path)
    assert found == {"zero_shot": {**GIFT, "transfer": 65.1234}, "gift": one_task}
    assert list(found) == ["zero_shot", "gift"]
    assert list(found["zero_shot"]) == ["transfer", "avg", "last", "forgetting"]


def test_a_mean_is_printed_the_same_however_it_was_computed() -> None:
    accuracies = (0.65, 0.7033333333333334, 0.6366666666666667, 0.66)  # a mean of 66.25
    means = {sum(accuracies) / 4 * 100, sum(100 * value for value in accuracies) / 4, 66.25, 66.25000000000001}
    assert len(means) > 1 and {one_decimal(mean) for mean in means} == {"66.2"}
    for value in (66.254, 66.246, 66.2549, 66.35, 66.3496, -0.04996, -0.05004):  # before and after it was written
        assert one_decimal(value) == one_decimal(rounded(value) or 0.0)
