"""An evaluation with a helper, and one that was interrupted, finds the same numbers and predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gift_core import classifier, evaluation
from gift_core.computation import in_turn
from gift_core.evaluation import PROTOCOLS, Measurement
from gift_core.work import snapshot as snapshots
from gift_core.work.units import KeptUnits
from tests.evaluation.sequence import inputs_of
from tests.execution.pretended_helper import run_with_helper

Folders = dict[str, Path]
# What measures, and the calls of a whole run.
MEASURED = {
    "task_incremental": (classifier, "nearest_classes", 6),
    "class_incremental": (evaluation, "encode_test_set", 3),
}


class InterruptedEvaluationError(Exception):
    """Stands for a kill."""


def require_same(found: Measurement, expected: Measurement) -> None:
    pd.testing.assert_frame_equal(found.rows, expected.rows, check_exact=True)
    pd.testing.assert_frame_equal(found.predictions, expected.predictions)
    assert found.metadata == expected.metadata


def counting(monkeypatch: pytest.MonkeyPatch, protocol: str, stop_at: int = 99) -> list[int]:
    """Counts the measurements of the protocol; the one with number `stop_at` is interrupted."""
    module, name, _ = MEASURED[protocol]
    measure: Callable[..., Any] = getattr(module, name)
    calls = [0]

    def counted(*arguments: Any) -> Any:
        if calls[0] == stop_at:
            raise InterruptedEvaluationError
        calls[0] += 1
        return measure(*arguments)

    monkeypatch.setattr(module, name, counted)
    return calls


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("stop_at", [1, 2])
def test_it_continues_with_the_next_measurement(
    models: Folders, tasks: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, stop_at: int
) -> None:
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))
    evaluate, (_, _, total) = PROTOCOLS[protocol], MEASURED[protocol]
    whole, said = evaluate(inputs_of(models, tasks, 2), in_turn), list[str]()
    inputs, run = inputs_of(models, tasks, 2), KeptUnits(tmp_path, said.append)
    with monkeypatch.context() as patch:
        counting(patch, protocol, stop_at)
        with pytest.raises(InterruptedEvaluationError):
            evaluate(inputs, run)
    with monkeypatch.context() as patch:
        calls = counting(patch, protocol)
        require_same(evaluate(inputs, run), whole)
    assert calls[0] == total - stop_at
    assert f"continues at {stop_at} of " in said[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_helper_changes_neither_accuracies_nor_predictions(
    models: Folders, tasks: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    alone = PROTOCOLS[protocol](inputs_of(models, tasks, 2), in_turn)
    run, helper = run_with_helper(tmp_path / "work", monkeypatch)
    require_same(PROTOCOLS[protocol](inputs_of(models, tasks, 2), run), alone)
    assert len(helper.helped) in (2, 3)
