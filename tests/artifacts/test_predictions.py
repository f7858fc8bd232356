"""The predictions of a step: what is written is read, and what breaks the contract is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gift_core.artifacts.predictions import (
    of_pairs,
    prediction_rows,
    read_predictions,
    retrieval_rows,
    write_predictions,
)
from tests.artifacts.damage import broken_message

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


def test_what_is_written_is_read_by_step_with_its_metadata(path: Path, tmp_path: Path) -> None:
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
    assert of_pairs(rows).tolist() == [False] * 4 + [True] * 5
    assert rows["rank"].tolist() == [0] * 4 + [1, 3, 1, 2, 1]
    assert [list(found) for found in rows["retrieved"]][3:6] == [[], [0, 1], [1, 0, 2]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"protocol": "cil"}, "protocol should be one of task_incremental, class_incremental, cross_domain; found cil"),
        ({"label": None}, "column label should be dictionary<values=string, indices=int32, ordered=0> without empty"),
    ],
)
def test_unsound_rows_are_refused(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    path = tmp_path / "gift" / "letters.parquet"
    write_predictions(path, ROWS[4:].assign(**change), METADATA)
    assert expected in broken_message(lambda: read_predictions(path), path, "evaluate")
