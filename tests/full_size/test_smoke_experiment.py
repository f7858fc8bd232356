"""The experiment of the smoke run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.experiment import read_experiment
from benchmarks.smoke.experiment import PRESET, TASKS, smoke_experiment
from benchmarks.smoke.sizes import FULL
from gift_core.config.loading import load_config


def test_the_experiment_is_valid_with_the_presets_methods_tasks_and_size(
    write_params: Callable[[dict[str, Any]], Path],
) -> None:
    preset, smoke = read_experiment(PRESET), smoke_experiment(FULL, ["gift"])
    assert load_config(write_params(smoke)).run.methods == ("gift",)
    assert smoke["methods"]["gift"] == preset["methods"]["gift"]
    assert all(smoke["tasks"][task] == preset["tasks"][task] | {"allow_partial": True} for task in TASKS)
    assert smoke["generator"]["size"] == preset["generator"]["size"] == 512
