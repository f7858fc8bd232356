"""The order of the tasks, and which results a benchmark reuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.experiment import Run, choose_methods, set_order


def test_another_order_has_the_tasks_rows_and_a_new_chain(mini_params: dict[str, Any]) -> None:
    mini_params["sequence"][3]["learning_rate_factor"] = 5.0
    set_order(mini_params, ["digits", "greek", "letters"])
    assert mini_params["sequence"] == [
        {"task": "digits", "after": "../pretrained", "learning_rate_factor": 5.0},
        {"task": "greek", "after": "digits", "learning_rate_factor": 1.0},
        {"task": "letters", "after": "greek", "learning_rate_factor": 1.0},
    ]


def test_results_stay_until_their_own_row_changes_and_each_seed_and_shared_setting_has_its_own(
    mini_params: dict[str, Any], tmp_path: Path
) -> None:
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
