"""Tasks of the miniature benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.task import TaskInfo, iterate_task
from gift_core.config.tasks import MiniTaskConfig
from gift_core.datasets.ingest import ingest
from gift_core.errors import UserError
from gift_core.mini.world import mini_task
from tests.artifacts.damage import tree_hash
from tests.datasets.folders import INGEST


def mini(root: Path, task: str, train: int = 60, test: int = 30, *, seed: int = 1) -> TaskInfo:
    """Ingests a task of the miniature benchmark into root/task."""
    config = MiniTaskConfig(source="mini", path="data/mini", train_images=train, test_images=test)
    return ingest(task, config, root / task, ingest_config=INGEST, seed=seed)


def test_a_mini_task_has_its_classes_and_templates_and_depends_on_the_seed_only(tmp_path: Path) -> None:
    info, task = mini(tmp_path / "a", "letters"), mini_task("letters")
    assert (info.class_names, info.templates) == (task.class_names, task.templates)
    assert (info.counts, info.source) == ({"train": 60, "test": 30}, "mini")
    assert {label for _, label in iterate_task(tmp_path / "a" / "letters", "train")} == set(range(26))
    mini(tmp_path / "b", "letters")
    mini(tmp_path / "c", "letters", seed=2)
    first, again, other = (tree_hash(tmp_path / name / "letters") for name in "abc")
    assert first == again != other


def test_fewer_images_than_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        mini(tmp_path, "letters", test=25)
    expected = "params.yaml: tasks.letters.test_images: 25 images are fewer than the 26 classes. Write 26 or more."
    assert str(caught.value) == expected
