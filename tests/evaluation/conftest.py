"""Three tasks and four models as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.task import TaskInfo, write_task
from gift_core.clip.model import save_clip
from tests.clip.tiny import png, tiny_clip
from tests.evaluation.sequence import TASKS, owner


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, Path]:
    """Of two classes: 4, 5 and 6 test images; the templates of each task are its own."""
    folders = {}
    for number, name in enumerate(TASKS):
        folders[name] = tmp_path / "tasks" / name
        info = TaskInfo(name, (f"{name} one", f"{name} two"), (f"a {{}}, {name}.", "the {}"), "made for a test")
        images = [(png(10 * number + row, width=16 + 3 * row), "png", row % 2) for row in range(4 + number)]
        write_task(folders[name], info, images[:2], images, images_per_shard=3)
    return folders


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """The pre-trained model and one after each task, all with different weights."""
    folders = {}
    for seed, name in enumerate(("pretrained", *TASKS)):
        folders[name] = tmp_path / "gift" / name
        save_clip(tiny_clip(seed=seed), folders[name], owner(name))
    return folders
