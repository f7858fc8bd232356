"""The work of each stage by hand, for models whose operations are small round numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gift_core.doctor import stage_work as module
from gift_core.doctor.finding import Project
from gift_core.doctor.operations import ClipOperations, ImageOperations, PipelineOperations
from gift_core.doctor.stage_work import (
    MINI_CLASSES,
    MINI_TEMPLATES,
    TOKENS,
    TYPICAL,
    UPDATE_OPERATIONS,
    StageWork,
    TaskSize,
    count_work,
    task_size,
)
from tests.doctor.projects import make_project, own_project

IMAGE, TOKEN, WEIGHTS = 1000, 10, 7
TEXT = TOKENS * TOKEN
UPDATE = UPDATE_OPERATIONS * WEIGHTS
TRAIN, TEST = 500, 300  # images of each of the four tasks of mini_quick


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = PipelineOperations(ImageOperations(5, 0, 0), ImageOperations(3, 0, 0), 20)
    monkeypatch.setattr(module, "clip_operations", lambda project: ClipOperations(IMAGE, TOKEN, WEIGHTS))
    monkeypatch.setattr(module, "pipeline_operations", lambda project: pipeline)


def works(project: Project, stage: str, method: str = "") -> list[StageWork]:
    return [work for work in count_work(project).stages if (work.stage, work.method) == (stage, method)]


def quick(folder: Path, *methods: str, **changes: Any) -> Project:
    run = {"methods": list(methods) or ["finetune", "gift"], "device": "cpu"}
    return make_project(folder, "mini_quick", run=run, **changes)


def test_an_image_is_two_passes_in_each_step_and_a_decoding(tmp_path: Path) -> None:
    assert [work.operations for work in works(quick(tmp_path), "synthesize")] == [160 * (2 * 10 * 5 + 3)] * 4
    project = quick(tmp_path, generator__guidance=0.0)
    assert works(project, "synthesize")[0].operations == 160 * (10 * 5 + 3)


def test_an_iteration_is_three_forward_passes_and_an_update(tmp_path: Path) -> None:
    project = quick(tmp_path)
    task = 32 * IMAGE + MINI_CLASSES * TEXT
    assert works(project, "finetune", "finetune")[0].operations == 60 * (3 * task + UPDATE)
    pairs = 32 * (IMAGE + TEXT)
    gift = works(project, "finetune", "gift")[0]
    assert (gift.operations, gift.images) == (60 * (3 * (task + pairs) + UPDATE), 60 * 64)
    cached = quick(tmp_path, training__micro_batch_size=8)
    assert works(cached, "finetune", "gift")[0].operations == 60 * (4 * (task + pairs) + UPDATE)
    project = quick(tmp_path, "zero_shot", "joint")
    assert {work.operations for work in works(project, "finetune", "zero_shot")} == {0}  # it learns nothing
    first, *_, last = works(project, "finetune", "joint")
    assert last.operations == 4 * first.operations  # it learns all tasks again


def test_the_teacher_encodes_pairs_and_vocabulary_and_takes_gradients_for_fisher_information(tmp_path: Path) -> None:
    project = quick(tmp_path, "finetune", "gift", "ewc", "gift_vocabulary", "lwf", "icarl")
    assert {work.operations for work in works(project, "teach", "finetune")} == {0}
    encoded = [160 * (IMAGE + TEXT) + (708 + step * MINI_CLASSES) * TEXT for step in range(4)]  # 708 base names
    assert [work.operations for work in works(project, "teach", "gift")] == encoded
    assert works(project, "teach", "ewc")[0].operations == encoded[0] + 160 * 3 * (IMAGE + TEXT)
    earlier = [160 * step * (IMAGE + TEXT) + encoded[step] for step in range(4)]
    assert [work.operations for work in works(project, "teach", "gift_vocabulary")] == earlier
    assert works(project, "teach", "lwf")[0].operations == TRAIN * IMAGE + MINI_CLASSES * TEXT
    exemplars = (TRAIN + 384) * IMAGE + MINI_CLASSES * TEXT
    assert [work.operations for work in works(project, "teach", "icarl")] == [0, exemplars, exemplars, exemplars]


def test_evaluation_tests_the_new_model_on_all_tasks_and_all_models_on_the_new_task(tmp_path: Path) -> None:
    project = quick(tmp_path, "gift", "individual", "zero_shot")
    one = TEST * IMAGE + MINI_CLASSES * MINI_TEMPLATES * TEXT
    expected = {"gift": [2, 4, 6, 8], "individual": [2, 3, 4, 5], "zero_shot": [1, 2, 3, 4]}
    for method, tests in expected.items():
        assert [work.operations / one for work in works(project, "evaluate", method)] == tests
    project = quick(tmp_path, "gift", evaluation__protocol="class_incremental")
    assert [work.operations / one for work in works(project, "evaluate", "gift")] == [2, 4, 6, 8]


def test_the_size_of_a_task_is_that_of_its_catalog_row_slice_or_folder(tmp_path: Path) -> None:
    tasks = make_project(tmp_path, "cil_cifar100_10").config.tasks
    assert task_size("x", next(iter(tasks.values())), tmp_path) == TaskSize(5000, 1000, 10, 18)
    tasks = make_project(tmp_path, "mtil_few_shot").config.tasks
    assert task_size("mnist", tasks["mnist"], tmp_path).train == 5 * 10
    own = own_project(tmp_path).config.tasks["my_task"]
    assert task_size("my_task", own, tmp_path) == TYPICAL
    for number in range(20):
        file = tmp_path / "data/0_raw/my_task" / f"class {number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert task_size("my_task", own, tmp_path) == TaskSize(16, 4, 2, 1)
