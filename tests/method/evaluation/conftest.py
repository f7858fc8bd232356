"""Three tasks and four models as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.clip.model import save_clip
from tests.clip.tiny import tiny_clip
from tests.made import made_task
from tests.method.evaluation.sequence import TASKS, owner


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, Path]:
    """Of two classes: 4, 5 and 6 test images; the templates of each task are its own."""
    folders = {}
    for number, name in enumerate(TASKS):
        classes, templates = (f"{name} one", f"{name} two"), (f"a {{}}, {name}.", "the {}")
        labels = [row % 2 for row in range(4 + number)]
        folders[name] = made_task(tmp_path / "tasks" / name, labels, classes, templates, first=10 * number)
    return folders


@pytest.fixture
def models(tmp_path: Path, one_tokenizer: None) -> dict[str, Path]:
    """The pre-trained model and one after each task, all with different weights."""
    folders = {}
    for seed, name in enumerate(("pretrained", *TASKS)):
        folders[name] = tmp_path / "gift" / name
        save_clip(tiny_clip(seed=seed), folders[name], owner(name))
    return folders
