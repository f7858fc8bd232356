"""The smoke runs follow their presets: what these get, such as a probe, leaves a valid experiment."""

from __future__ import annotations

import yaml

from benchmarks.experiment import Experiment
from benchmarks.smoke.experiment import smoke_experiment
from benchmarks.smoke.laptop import laptop_experiment
from benchmarks.smoke.sizes import FULL
from gift_core.config.loading import parse_config


def test_experiments_of_the_smoke_runs_are_valid() -> None:
    _require_valid(smoke_experiment(FULL))
    _require_valid(laptop_experiment(images=2, iterations=2))


def _require_valid(experiment: Experiment) -> None:
    parse_config(yaml.safe_dump(experiment), str(experiment["experiment"]))
