"""The accuracies of a step (accuracy tables from any source: stages/test_metrics_command.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gift_core.artifacts.accuracy import read_accuracy, write_accuracy, write_empty_accuracy
from tests.artifacts.damage import broken_message

METADATA = {"task:letters": "abc", "model:pretrained": "def"}


def row(**changes: Any) -> dict[str, Any]:
    return {
        "method": "gift", "protocol": "task_incremental", "step": 0, "trained_task": "letters", "eval_task": "letters",
        "phase": "current", "top1": 0.75, "n": 500, **changes,
    }  # fmt: skip


START = row(step=-1, trained_task="pretrained", phase="pretrained", top1=0.5)
ROWS = pd.DataFrame([START, row()])


@pytest.mark.parametrize("protocol", ["task_incremental", "class_incremental"])
def test_what_is_written_is_read_by_step_with_its_metadata(protocol: str, tmp_path: Path) -> None:
    probes = [{**START, "phase": "probe", "eval_task": "faces"}, row(phase="probe", eval_task="faces")]
    expected = pd.DataFrame([probes[0], START, probes[1], row()]).assign(protocol=protocol)
    write_accuracy(tmp_path / "gift" / "letters.parquet", expected.iloc[[2, 3, 0, 1]], METADATA)
    rows, metadata = read_accuracy(tmp_path / "gift" / "letters.parquet")
    assert rows.to_dict("records") == expected.to_dict("records")
    assert metadata == METADATA
    write_accuracy(tmp_path / "again", expected, dict(reversed(METADATA.items())))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "gift" / "letters.parquet").read_bytes()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"top1": 75.0}, "top1 should be a fraction from 0 to 1"),
        ({"phase": "passed"}, "protocol and phase should be of task_incremental (past, current, future, pretrained, "),
        ({"phase": "pretrained"}, "pretrained at step -1 alone"),
    ],
)
def test_unsound_rows_are_refused(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    path = tmp_path / "gift" / "letters.parquet"
    write_accuracy(path, pd.DataFrame([row(**change)]), METADATA)
    assert expected in broken_message(lambda: read_accuracy(path), path, "evaluate")


def test_the_start_of_the_chain_has_no_rows(tmp_path: Path) -> None:
    write_empty_accuracy(tmp_path / "pretrained.parquet", METADATA)
    rows, metadata = read_accuracy(tmp_path / "pretrained.parquet")
    assert len(rows) == 0
    assert metadata == METADATA
