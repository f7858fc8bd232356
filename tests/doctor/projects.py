"""Projects to check: presets with changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gift_core.config.loading import load_config
from gift_core.config.presets import complete_text
from gift_core.doctor.finding import Project
from tests.config.test_loading import set_at
from tests.datasets.folders import folder_row
from tests.imports import ROOT, sequence_of


def make_project(folder: Path, preset: str = "mini", **changes: Any) -> Project:
    """Writes a preset to `folder`/params.yaml with some keys changed; generator__size is generator.size."""
    params = yaml.safe_load(complete_text(ROOT / "presets" / f"{preset}.yaml"))
    for path, value in changes.items():
        set_at(params, path.replace("__", "."), value)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return Project(folder, load_config(folder / "params.yaml"))


def own_project(folder: Path, **changes: Any) -> Project:
    """The preset bring_your_own with a task of the user's, whose images are in data/0_raw/my_task."""
    own = {"tasks": {"my_task": folder_row("data/0_raw/my_task")}, "sequence": sequence_of(["my_task"])}
    return make_project(folder, "bring_your_own", **own | changes)


def link_models(folder: Path) -> None:
    """Links the two small models of the project into `folder`, where the preset mini expects them."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "mini").symlink_to(ROOT / "data" / "mini")
