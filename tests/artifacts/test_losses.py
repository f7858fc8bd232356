"""losses.jsonl."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gift_core.artifacts.losses import read_losses, write_losses
from gift_core.errors import ContractError
from tests.artifacts.damage import broken_message, cut

ROWS = [
    {"iteration": 0, "learning_rate": 0.001, "task": 2.5, "distill": 1.0, "consolidation": 0.0, "total": 3.5},
    {"iteration": 1, "learning_rate": 0.0005, "task": 2.0, "distill": 0.5, "consolidation": 0.25, "total": 2.75},
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_losses(tmp_path / "losses.jsonl", ROWS)
    assert read_losses(tmp_path / "losses.jsonl") == ROWS


def test_a_line_is_an_iteration(tmp_path: Path) -> None:
    write_losses(tmp_path / "losses.jsonl", ROWS[:1])
    expected = (
        '{"iteration": 0, "learning_rate": 0.001, "task": 2.5, "distill": 1.0, "consolidation": 0.0, "total": 3.5}\n'
    )
    assert (tmp_path / "losses.jsonl").read_text() == expected


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    write_losses(tmp_path / "a", ROWS)
    write_losses(tmp_path / "b", ROWS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"iteration": 2}, "line 2 should be iteration 1, it is iteration 2"),
        ({"distill": math.nan}, "line 2: distill should be a finite number, it is nan"),
        ({"total": math.inf}, "line 2: total should be a finite number, it is inf"),
        ({"total": "much"}, "line 2: total should be a finite number, it is 'much'"),
        (
            {"align": 1.0},
            "line 2 should have the fields of line 1: iteration, learning_rate, task, distill, consolidation, total",
        ),
    ],
)
def test_an_unsound_row_is_refused_on_write(change: dict[str, float], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=expected):
        write_losses(tmp_path / "losses.jsonl", [ROWS[0], {**ROWS[1], **change}])
    assert list(tmp_path.iterdir()) == []


def test_a_row_without_its_total_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ContractError, match="line 1 should have iteration, learning_rate, task, total; total is missing"
    ):
        write_losses(tmp_path / "losses.jsonl", [{"iteration": 0, "learning_rate": 0.1, "task": 1.0}])


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="there should be one iteration at least"):
        write_losses(tmp_path / "losses.jsonl", [])


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    write_losses(path, ROWS)
    cut(path, 0.7)
    assert "each line should be a JSON object" in broken_message(lambda: read_losses(path), path, "finetune")


def test_a_line_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    path.write_text("5\n")
    assert "each line should be a JSON object" in broken_message(lambda: read_losses(path), path, "finetune")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    broken_message(lambda: read_losses(tmp_path / "l"), tmp_path / "l", "finetune")
