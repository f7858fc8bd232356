"""The measurement of torch.compile, with a stand-in that compiles nothing, and its table."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

CPU = torch.device("cpu")


@pytest.fixture
def compiling(project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(project / "benchmarks"))
    monkeypatch.chdir(project)  # the miniature models are in data/
    return importlib.import_module("compiling")


@pytest.mark.parametrize("case", ["unet-mini", "images-mini", "texts-mini", "images", "texts"])
def test_a_case_compares_outputs_and_gradients_of_the_same_work(
    case: str, compiling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for a compiled function returns 1.5 times the output."""

    def compile(function: Callable[[torch.Tensor], torch.Tensor], dynamic: bool) -> Callable[..., torch.Tensor]:
        return lambda rows: 1.5 * function(rows)

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(compiling, "ROUNDS", 1)
    choices = argparse.Namespace(depth=1, batch=2, precision="fp32", device="cpu")
    row = compiling.measured(compiling.CASES[case](choices), CPU)
    assert row["difference"] == pytest.approx(0.5, rel=1e-5)
    assert row["seconds"] > 0 and row["first"] > 0
    assert ("channels_last" in row) == (case == "unet-mini")


def test_the_table_says_after_how_many_calls_compiling_pays(compiling: Any) -> None:
    row = {"case": "texts", "cold": 60.0, "warm": 5.0, "seconds": 0.1, "ratio": 0.75, "difference": 4e-7}
    assert compiling.line(row) == "| texts | 60 | 5 | 0.100 | 0.75 | 2400 (200) | 4e-07 |  |"
    assert "| 1.10 | never | 4e-07 | 0.90 |" in compiling.line({**row, "ratio": 1.1, "channels_last": 0.9})
