"""The order of stages in hand-made graphs, and what is refused about GPUs."""

from __future__ import annotations

import pytest
import yaml

from gift_core.errors import UserError
from gift_core.execution.pool import check_gpus
from gift_core.stage_facts import STAGES
from stages.dvc.run_loop import Schedule
from tests.imports import ROOT

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}


def test_the_stage_with_the_longest_path_behind_it_comes_first() -> None:
    times = {"a": 1, "b": 1, "c": 3, "d": 1, "e": 4.5}
    assert Schedule(DIAMOND, times).ready() == ["a", "e"]  # 1 + 3 + 1 is more than 4.5
    assert Schedule(DIAMOND, times | {"c": 1}).ready() == ["e", "a"]


def test_the_stages_that_use_a_gpu_are_stages_of_dvc_yaml_that_resolve_a_device() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    resolving = {
        name for name in stages if "set_up_device" in (ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8")
    }
    assert {stage for stage, facts in STAGES.items() if facts.computes} == resolving - {"import_model"}


def test_a_share_of_gpus_that_ray_cannot_give_and_a_device_with_a_number_are_refused() -> None:
    for gpus in (0, -1, 1.5, float("nan"), float("inf")):
        with pytest.raises(UserError, match="--gpus-per-stage"):
            check_gpus(gpus, "auto")
    with pytest.raises(UserError, match=r"run\.device: cuda:1"):
        check_gpus(1, "cuda:1")
    for device in ("auto", "cpu", "cuda", "cuda:0", "mps"):
        check_gpus(1, device)
