"""The presets compared with each other: complete, with the same keys, and different only where their names say so."""

from __future__ import annotations

import copy
import json
import re
import shutil
import textwrap
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest

from gift_core.config.overlays import complete_text
from gift_core.presets import load_preset
from tests.imports import ROOT
from tests.presets.test_paper_numbers import FULL_SIZE, read

ORDERS = json.loads((ROOT / "gift_core" / "published" / "cil_class_orders.json").read_text(encoding="utf-8"))
# preset -> (data set, classes of the first step, steps after it, classes of each)
INCREMENTAL = {
    "cil_cifar100_10": ("cifar100", 10, 9, 10),
    "cil_cifar100_20": ("cifar100", 5, 19, 5),
    "cil_cifar100_50": ("cifar100", 2, 49, 2),
    "cil_tinyimagenet_5": ("tinyimagenet", 100, 5, 20),
    "cil_tinyimagenet_10": ("tinyimagenet", 100, 10, 10),
    "cil_tinyimagenet_20": ("tinyimagenet", 100, 20, 5),
}
FEW_SHOT = {"mtil_few_shot": 5, "mtil_few_shot_16": 16}


def text_of(preset: str) -> str:
    return complete_text(ROOT / "presets" / f"{preset}.yaml")


def without(params: dict[str, Any], *paths: str) -> dict[str, Any]:
    params = copy.deepcopy(params)
    for path in paths:
        *parents, last = path.split(".")
        section = params
        for key in parents:
            section = section[key]
        del section[last]
    return params


def test_the_guide_has_a_row_of_every_preset_with_its_number_of_tasks() -> None:
    rows = [line.split("|")[1:3] for line in (ROOT / "docs" / "presets.md").read_text(encoding="utf-8").splitlines()
            if line.startswith("| `")]  # fmt: skip
    told = {
        name.strip(" `"): int(number)
        for names, numbers in rows
        for name, number in zip(names.split(","), (numbers.split(",") * 3)[: names.count(",") + 1], strict=True)
    }
    assert told == {path.stem: len(read(path.stem)["sequence"]) for path in (ROOT / "presets").glob("*.yaml")}


@pytest.mark.parametrize("preset", FULL_SIZE)
def test_a_preset_has_the_miniatures_sections_in_their_order_and_all_their_keys(preset: str) -> None:
    mini, params = read("mini"), read(preset)
    assert list(params) == list(mini)
    for section in ("run", "model", "generator", "prompts", "ingest", "training", "evaluation"):
        assert list(params[section]) == list(mini[section]), section


@pytest.mark.parametrize("preset", FULL_SIZE)
def test_a_preset_is_named_as_its_file_and_says_what_it_is_and_what_to_check_first(preset: str) -> None:
    assert load_preset(ROOT / "presets" / f"{preset}.yaml").experiment == preset
    comment = text_of(preset).split("\n\n")[0]
    assert all(line.startswith("#") for line in comment.splitlines())
    assert "gift doctor" in comment


@pytest.mark.parametrize("preset", ["mini", "mini_quick", "mini_full", "mini_compare", *FULL_SIZE])
def test_every_key_of_a_section_is_explained(preset: str) -> None:
    lines = text_of(preset).splitlines()
    for section in ("model", "generator", "prompts", "ingest", "training", "evaluation"):
        start = lines.index(f"{section}:") + 1
        keys = [line for line in takewhile(str.strip, lines[start:]) if not line.startswith("  - ")]
        assert len(keys) == len(read(preset)[section])
        assert [line for line in keys if "   # " not in line] == []


def test_order_2_differs_from_order_1_in_name_and_sequence_alone() -> None:
    first, second = (without(read(f"mtil_order_{number}"), "experiment", "sequence") for number in (1, 2))
    assert first == second


@pytest.mark.parametrize(("preset", "shots"), FEW_SHOT.items())
def test_few_shot_differs_from_order_1_in_name_and_shots_alone(preset: str, shots: int) -> None:
    few = read(preset)
    assert [row.pop("shots") for row in copy.deepcopy(few["tasks"]).values()] == [shots] * 11
    assert without(few, "experiment", "tasks") == without(read("mtil_order_1"), "experiment", "tasks")
    without_shots = {name: {k: v for k, v in row.items() if k != "shots"} for name, row in few["tasks"].items()}
    assert without_shots == read("mtil_order_1")["tasks"]


@pytest.mark.parametrize(("preset", "numbers"), INCREMENTAL.items())
def test_a_class_incremental_preset_splits_all_classes_in_the_benchmarks_order(
    preset: str, numbers: tuple[str, int, int, int]
) -> None:
    dataset, first, steps, each = numbers
    params = read(preset)
    slices = [row["classes"] for row in params["tasks"].values()]
    assert [row["count"] for row in slices] == [first] + [each] * steps
    assert [row["first"] for row in slices] == [0] + [first + each * step for step in range(steps)]
    assert slices[-1]["first"] + slices[-1]["count"] == len(ORDERS[dataset])
    assert {row["order"] for row in slices} == {"benchmark"}
    sources = {(row["source"], row["dataset"], row["path"]) for row in params["tasks"].values()}
    assert sources == {("catalogue", dataset, f"data/0_raw/{dataset}")}


@pytest.mark.parametrize("preset", INCREMENTAL)
def test_a_class_incremental_preset_learns_its_slices_in_turn_and_shares_all_else_with_mtil(preset: str) -> None:
    params = read(preset)
    names = list(params["tasks"])
    assert names == [f"{INCREMENTAL[preset][0]}_{number:02d}" for number in range(len(names))]
    assert [step["task"] for step in params["sequence"]] == names
    assert all(after["after"] == before["task"] for before, after in pairwise(params["sequence"]))
    assert {step["learning_rate_factor"] for step in params["sequence"]} == {1.0}
    assert params["evaluation"]["protocol"] == "class_incremental"
    own = ("experiment", "run", "tasks", "sequence", "evaluation.protocol")
    assert without(params, *own) == without(read("mtil_order_1"), *own)


def test_bring_your_own_has_no_task_yet_and_the_full_size() -> None:
    params, mtil = read("bring_your_own"), read("mtil_order_1")
    assert (params["tasks"], params["sequence"]) == ({}, [])
    for section in ("model", "generator", "prompts", "ingest", "training", "evaluation"):
        assert params[section] == mtil[section]
    assert all(params["methods"][name] == mtil["methods"][name] for name in params["methods"])


def test_laptop_learns_three_small_data_sets_on_a_cpu_with_the_losses_of_the_paper() -> None:
    params, mtil = read("laptop"), read("mtil_order_1")
    assert [step["task"] for step in params["sequence"]] == list(params["tasks"]) == ["dtd", "eurosat", "oxford_pet"]
    assert params["tasks"] == {name: mtil["tasks"][name] | {"shots": 16} for name in params["tasks"]}
    assert list(params["methods"]) == params["run"]["methods"] == ["finetune", "gift", "gift_vocabulary"]
    for name, row in params["methods"].items():
        assert row == mtil["methods"][name] | {
            "learning_rate": pytest.approx(5 * mtil["methods"][name]["learning_rate"])
        }
    assert (params["generator"]["dtype"], params["generator"]["steps"]) == ("float32", 1)
    assert params["generator"]["guidance"] == 0.0 and re.fullmatch("[0-9a-f]{40}", params["generator"]["revision"])
    assert params["evaluation"]["max_images"] == 500


def test_the_overlay_of_the_guide_can_be_used(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    example = page[page.index("    # MTIL in order I with our own") : page.index("- A section on several lines")]
    (tmp_path / "my_experiment.yaml").write_text(textwrap.dedent(example), encoding="utf-8")
    shutil.copy(ROOT / "presets" / "mtil_order_1.yaml", tmp_path)
    config, base = load_preset(tmp_path / "my_experiment.yaml"), load_preset(tmp_path / "mtil_order_1.yaml")
    assert (config.training.iterations, config.training.batch_size) == (500, base.training.batch_size)
    assert [name for name, _ in config.methods["gift"].losses.items()] == ["distill"]
    assert set(base.methods) - set(config.methods) == {"ewc"}
