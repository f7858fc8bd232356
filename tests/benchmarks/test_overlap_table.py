"""The stages of benchmarks/overlap.py run on the fake device, in turn and overlapped."""

from __future__ import annotations

import pytest
import torch

from benchmarks import overlap
from gift_core.work.overlap import Copies


@pytest.mark.parametrize("name", overlap.STAGES)
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_device_computes_what_the_stage_needs(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Copies(torch.device("cpu"))
    monkeypatch.setattr(overlap.overlap, "Copies", lambda device: nothing)
    monkeypatch.setattr(overlap.synthesizing, "Copies", lambda device: nothing)
    for constant, value in {"BATCHES": 2, "SHARD": 16, "GENERATE": 0.02, "ENCODE": 0.0, "WRITE": 0.0}.items():
        monkeypatch.setattr(overlap, constant, value)
    for constant, value in {"ITERATIONS": 2, "COMPUTE": 0.02, "QUEUE": 0.0, "DECODE": 0.0}.items():
        monkeypatch.setattr(overlap, constant, value)
    device = overlap.Device()
    overlap.STAGES[name](device, torch.device(kind))
    assert device.busy >= 2 * 0.02  # two batches or iterations, and a sleep is never shorter
