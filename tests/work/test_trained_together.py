"""Training of a part of the model in two processes: the gradients and weights of one process, in float64."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch

from gift_core.config.method_options import MethodConfig
from gift_core.work.launcher import started
from gift_core.work.processes import Processes
from tests.interruption.processes import SERVER
from tests.training.tiny_training import gift
from tests.work import test_data_parallel as parallel

LORA = {"kind": "lora", "rank": 2, "alpha": 4.0, "targets": ["attn", "c_fc"], "dropout": 0.0}
CASES = {
    "lora": ({"trains": LORA, "layer_decay": 0.5}, {}),
    "text_tower": ({"trains": {"kind": "text_tower"}}, {"micro_batch_size": 2}),
}


def observe_all(processes: Processes) -> dict[str, parallel.Notes]:
    for name, (slots, changes) in CASES.items():
        row = gift().model_dump(exclude_none=True) | slots
        parallel.CASES[name] = (MethodConfig.model_validate(row), changes)
    return {name: parallel.observed(name, processes) for name in CASES}


def observe_too(processes: Processes) -> Callable[[], object]:
    return lambda: observe_all(processes)


def test_two_processes_train_a_part_as_one_does() -> None:
    with (
        patch.object(multiprocessing, "get_context", lambda method: SERVER),
        started(2, torch.device("cpu"), observe_too) as processes,
    ):
        together = observe_all(processes)
    for name, (expected_rows, expected) in observe_all(parallel.ALONE).items():
        rows, found = together[name]
        assert [row["total"] for row in rows] == pytest.approx([row["total"] for row in expected_rows])
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)
