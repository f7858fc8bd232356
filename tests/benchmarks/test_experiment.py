"""The order of the tasks, which results a benchmark reuses, and the rows of `methods:` that files of variants give."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare
from benchmarks.experiment import Run, choose_methods, read_experiment, set_order
from benchmarks.variants import Variant, read_variants
from gift_core.config.loading import load_config
from stages.dvc.seed_runs import seeds_of


def test_another_order_has_the_tasks_rows_and_a_new_chain(mini_params: dict[str, Any]) -> None:
    mini_params["sequence"][3]["learning_rate_factor"] = 5.0
    set_order(mini_params, ["digits", "greek", "letters"])
    assert mini_params["sequence"] == [
        {"task": "digits", "after": "../pretrained", "learning_rate_factor": 5.0},
        {"task": "greek", "after": "digits", "learning_rate_factor": 1.0},
        {"task": "letters", "after": "greek", "learning_rate_factor": 1.0},
    ]


def test_results_stay_until_their_row_or_a_shared_value_changes(mini_params: dict[str, Any], tmp_path: Path) -> None:
    gift, finetune = ({name: mini_params["methods"][name]} for name in ("gift", "finetune"))
    choose_methods(mini_params, gift | finetune)
    run = Run.of(mini_params, tmp_path, seed=1)
    kept, changed = (run.layout.accuracy(method, "letters") for method in ("gift", "finetune"))
    for file in (kept, changed):
        file.parent.mkdir(parents=True)
        file.touch()
    choose_methods(mini_params, gift)
    Run.of(mini_params, tmp_path, seed=1)
    assert kept.exists() and changed.exists()
    choose_methods(mini_params, {**gift, "finetune": finetune["finetune"] | {"learning_rate": 0.5}})
    assert Run.of(mini_params, tmp_path, seed=1).root == run.root
    assert kept.exists() and not changed.exists()
    second = Run.of(mini_params, tmp_path, seed=2)
    assert (second.config.seed, second.config.generator.seed) == (2, 2)
    mini_params["prompts"]["images_per_task"] = 100
    third = Run.of(mini_params, tmp_path, seed=1)
    assert len({run.root, second.root, third.root}) == 3 and kept.exists()


def test_a_comparison_of_variants_is_one_of_a_params_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(compare, "compare", asked.update)
    (tmp_path / "own.yaml").write_text("own: {base: gift, learning_rate: 5e-4}", encoding="utf-8")
    words = f"--variants {tmp_path}/own.yaml --methods own finetune --order digits letters --seeds 7 --work {tmp_path}"
    monkeypatch.setattr(sys, "argv", ["compare", *words.split(), "--against", "own"])
    compare.main()
    config = load_config(asked["params"])
    assert list(config.methods) == list(config.run.methods) == ["own", "finetune"]
    assert config.methods["own"].learning_rate == 5e-4 and [step.task for step in config.sequence] == [
        "digits",
        "letters",
    ]
    assert (seeds_of(asked["seeds"], config.seed), asked["against"]) == ((7,), "own")


def variants(folder: Path, text: str, methods: dict[str, Any]) -> dict[str, Variant]:
    path = folder / "variants.yaml"
    path.write_text(text, encoding="utf-8")
    return read_variants(path, methods)


def test_lists_are_expanded_by_their_product(tmp_path: Path, mini_params: dict[str, Any]) -> None:
    methods = mini_params["methods"]
    text = "own: {base: gift, learning_rate: [5e-4, 1e-3], consolidation: {weight: [0.05, 0.1]}}"
    before = copy.deepcopy(methods)
    found = variants(tmp_path, text, methods)
    assert methods == before
    assert list(found) == ["own_0p0005_0p05", "own_0p0005_0p1", "own_0p001_0p05", "own_0p001_0p1"]
    last = found["own_0p001_0p1"]
    assert (last.method, last.setting) == ("own", "learning_rate=0.001 consolidation.weight=0.1")
    row = before["gift"]
    row["learning_rate"], row["consolidation"]["weight"] = 1e-3, 0.1
    assert last.row == row


def test_the_search_tries_as_many_settings_of_every_method(project: Path) -> None:
    methods = read_experiment(project / "presets" / "mini_compare.yaml")["methods"]
    found = read_variants(project / "benchmarks" / "search.yaml", methods)
    assert set(Counter(variant.method for variant in found.values()).values()) == {6}
