"""An interrupted evaluation measures only what it does not know yet, and finds the same numbers and predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gift_core import classifier, evaluation
from gift_core.artifacts import snapshot as snapshots
from gift_core.artifacts.snapshot import Snapshot
from gift_core.clip.model import save_clip
from gift_core.evaluation import PROTOCOLS
from tests.clip.tiny import tiny_clip
from tests.evaluation.sequence import inputs_of

MEASURED = {
    "task_incremental": ("nearest_classes", 6),
    "class_incremental": ("encode_test_set", 3),
}  # calls of a whole run


class InterruptedEvaluationError(Exception):
    """Stands for a kill."""


@pytest.fixture(autouse=True)
def snapshot_of_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))


def counting(monkeypatch: pytest.MonkeyPatch, protocol: str, stop_at: int = 99) -> list[int]:
    """Counts the measurements of the protocol; the one with number `stop_at` is interrupted."""
    name, _ = MEASURED[protocol]
    module = classifier if hasattr(classifier, name) else evaluation
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
    models: dict[str, Path],
    tasks: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    stop_at: int,
) -> None:
    inputs = inputs_of(models, tasks, 2)
    evaluate, (_, total) = PROTOCOLS[protocol].evaluate, MEASURED[protocol]
    whole = evaluate(inputs)
    said: list[str] = []
    kept = replace(inputs, snapshot=Snapshot(tmp_path / "tests.safetensors", said.append))
    with monkeypatch.context() as patch:
        counting(patch, protocol, stop_at)
        with pytest.raises(InterruptedEvaluationError):
            evaluate(kept)
    with monkeypatch.context() as patch:
        calls = counting(patch, protocol)
        resumed = evaluate(kept)
    pd.testing.assert_frame_equal(resumed.rows, whole.rows, check_exact=True)
    pd.testing.assert_frame_equal(resumed.predictions, whole.predictions)
    assert (resumed.metadata, calls[0]) == (whole.metadata, total - stop_at)
    assert "known" in said[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_replaced_model_is_measured_again(
    models: dict[str, Path], tasks: dict[str, Path], tmp_path: Path, protocol: str
) -> None:
    evaluate = PROTOCOLS[protocol].evaluate
    kept = replace(inputs_of(models, tasks, 2), snapshot=Snapshot(tmp_path / "tests.safetensors"))
    evaluate(kept)
    save_clip(tiny_clip(seed=77), models["faces"], {"method": "gift", "task": "faces"})
    again, whole = evaluate(kept), evaluate(inputs_of(models, tasks, 2))
    pd.testing.assert_frame_equal(again.rows, whole.rows, check_exact=True)
    pd.testing.assert_frame_equal(again.predictions, whole.predictions)
