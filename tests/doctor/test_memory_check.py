"""Whether a device is large enough, and the first setting that makes it so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gift_core.doctor.memory_check import (
    DeviceMemory,
    check_drawing,
    check_learning,
    check_memory,
    judge_memory,
    memory_of,
)
from tests.doctor.scenes import mini_models, scene

GIGA = 10**9


def card(size: float, *, free: float | None = None) -> DeviceMemory:
    return DeviceMemory("a card", int(size * GIGA), int((size if free is None else free) * GIGA))


def test_the_papers_batch_fits_a_card_of_40_gb(tmp_path: Path) -> None:
    finding = check_learning(scene(tmp_path, "mtil_order_1"), card(40))
    assert finding.mark == "ok"
    assert "397 class prompts (sun397)" in finding.found


def test_on_a_smaller_card_the_largest_micro_batch_that_fits_is_named(tmp_path: Path) -> None:
    finding = check_learning(scene(tmp_path, "mtil_order_1"), card(16))
    assert finding.mark == "fail"
    assert finding.remedy.startswith("Write training.micro_batch_size: 64 (about 13")
    finding = check_learning(scene(tmp_path, "mtil_order_1"), card(8))
    assert finding.remedy.startswith("Write training.micro_batch_size: 16 ")


def test_that_setting_is_enough(tmp_path: Path) -> None:
    assert check_learning(scene(tmp_path, "mtil_order_1", training__micro_batch_size=16), card(8)).mark == "ok"


def test_no_setting_helps_a_card_that_does_not_hold_the_weights(tmp_path: Path) -> None:
    finding = check_learning(scene(tmp_path, "mtil_order_1"), card(2))
    assert (finding.mark, finding.remedy.startswith("Use a larger device")) == ("fail", True)


def test_memory_that_others_hold_is_a_warning(tmp_path: Path) -> None:
    assert check_learning(scene(tmp_path, "mtil_order_1"), card(80, free=10)).mark == "warn"


def test_the_method_that_needs_most_decides(tmp_path: Path) -> None:
    run = {"methods": ["finetune"]}
    plain = check_learning(scene(tmp_path, "mtil_order_1", run={**run, "device": "auto"}), card(80)).found
    both = check_learning(scene(tmp_path, "mtil_order_1"), card(80)).found
    # gift holds where the task began and the importance of 149.6 million parameters: 1.2 GB
    sizes = [float(found.split()[1]) for found in (plain, both)]
    assert sizes[1] - sizes[0] == pytest.approx(2 * 4 * 0.14962, abs=0.11)


def test_a_residual_network_has_no_estimate(tmp_path: Path) -> None:
    mini_models(tmp_path)
    assert check_learning(scene(tmp_path), card(1)).mark == "info"


def test_drawing_is_estimated_before_the_pipeline_is_fetched(tmp_path: Path) -> None:
    finding = check_drawing(scene(tmp_path, "mtil_order_1"), card(12))
    assert finding.mark == "ok"
    assert finding.found.startswith("about 7.5 GB for 10 images at once")
    finding = check_drawing(scene(tmp_path, "mtil_order_1"), card(6))
    assert (finding.mark, finding.remedy.split(" (")[0]) == ("fail", "Write generator.batch_size: 4")


def test_an_unknown_pipeline_is_estimated_once_it_is_there(tmp_path: Path) -> None:
    assert check_drawing(scene(tmp_path, "mtil_order_1", generator__pipeline="who/what"), card(12)).mark == "info"
    mini_models(tmp_path)
    assert check_drawing(scene(tmp_path), card(12)).mark == "ok"


def test_the_first_choice_that_fits_is_named() -> None:
    choices = {"a: 1": 9 * GIGA, "b: 2": 4 * GIGA, "c: 3": 3 * GIGA}
    finding = judge_memory("x", "10.0 GB", 10 * GIGA, device=card(5), choices=choices)
    assert finding.remedy == "Write b: 2 (about 4.0 GB): docs/memory.md."


def test_a_system_that_does_not_say_is_no_fail() -> None:
    assert judge_memory("x", "10.0 GB", 10 * GIGA, device=DeviceMemory("the CPU", 0, 0), choices={}).mark == "info"


def test_the_cpus_memory_is_the_machines() -> None:
    memory = memory_of(torch.device("cpu"))
    assert 0 < memory.free <= memory.total
    assert memory.total > 10**9


def test_drawing_in_half_precision_on_a_cpu_is_a_warning(tmp_path: Path) -> None:
    found = list(check_memory(scene(tmp_path, "mtil_order_1", run__device="cpu")))
    assert [finding.subject for finding in found] == ["memory to learn", "memory to draw", "device"]
    assert (found[-1].mark, "float16" in found[-1].found) == ("warn", True)


def test_methods_without_synthetic_pairs_draw_nothing(tmp_path: Path) -> None:
    run = {"methods": ["finetune"]}
    found = list(check_memory(scene(tmp_path, "mtil_order_1", run={**run, "device": "cpu"})))
    assert [finding.subject for finding in found] == ["memory to learn"]
