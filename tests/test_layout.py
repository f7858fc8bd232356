"""Where artifacts lie. The stages and dvc.yaml agree on it: the end-to-end tests run both."""

from __future__ import annotations

import os
from pathlib import Path

from gift_core.layout import Layout

LAYOUT = Layout(Path("root"))


def test_before_the_first_task_come_the_files_of_the_pretrained_model() -> None:
    def normal(path: Path) -> Path:
        return Path(os.path.normpath(path))

    assert normal(LAYOUT.model("gift", "../pretrained")) == LAYOUT.pretrained()
    assert normal(LAYOUT.accuracy("gift", "../pretrained")) == LAYOUT.pretrained_accuracy()
    assert normal(LAYOUT.vocabulary("../pretrained")) == LAYOUT.base_vocabulary()
