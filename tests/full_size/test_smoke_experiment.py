"""What the smoke changes of its preset, and that it changes no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiment import read_experiment
from benchmarks.smoke.experiment import PRESET, TASKS, smoke_experiment
from benchmarks.smoke.sizes import FULL
from gift_core.config.loading import load_config
from gift_core.errors import UserError

CHANGED = {
    "experiment", "model.name", "model.pretrained", "generator.pipeline", "generator.revision", "generator.dtype",
    "generator.steps", "generator.batch_size", "generator.size", "generator.scheduler", "prompts.images_per_task",
    "training.iterations", "training.warmup_iterations", "training.batch_size", "training.replay_batch_size",
    "evaluation.batch_size", "tasks", "sequence", "methods",
}  # fmt: skip


def flat(experiment: dict[str, object]) -> dict[str, object]:
    """Keys of the second level joined by a point; the long lists as a whole."""
    whole = ("tasks", "sequence", "methods")
    pairs = {key: value for key, value in experiment.items() if key in whole or not isinstance(value, dict)}
    for section, value in experiment.items():
        if section not in whole and isinstance(value, dict):
            pairs |= {f"{section}.{key}": each for key, each in value.items()}
    return pairs


def test_only_what_costs_time_or_needs_a_hub_differs_from_the_preset() -> None:
    preset, smoke = flat(read_experiment(PRESET)), flat(smoke_experiment(FULL))
    assert preset.keys() == smoke.keys()
    assert {key for key in preset if preset[key] != smoke[key]} <= CHANGED
    assert smoke["generator.size"] == preset["generator.size"] == 512


def test_methods_and_tasks_keep_the_presets_rows() -> None:
    preset, smoke = read_experiment(PRESET), smoke_experiment(FULL)
    assert all(smoke["methods"][name] == preset["methods"][name] for name in ("finetune", "gift"))
    assert [row["after"] for row in smoke["sequence"]] == ["../pretrained", "aircraft"]
    assert [row["learning_rate_factor"] for row in smoke["sequence"]] == [5.0, 5.0]
    assert all(smoke["tasks"][task] == preset["tasks"][task] | {"allow_partial": True} for task in TASKS)


def test_the_experiment_passes_every_check_of_params_yaml(
    write_params: Callable[[dict[str, Any]], Path],
) -> None:
    config = load_config(write_params(smoke_experiment(FULL, ["gift"])))
    assert config.run.methods == ("gift",)


def test_an_unknown_method_is_met_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="unknown name 'gfit'. Did you mean 'gift'?"):
        smoke_experiment(FULL, ["gfit"])
