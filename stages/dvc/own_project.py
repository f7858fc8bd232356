"""DVC projects inside .gift, with other settings: for `gift compare --seeds` and `gift rehearse`.

Each has its own params.yaml and its own results, and links to the code, the models and the raw data.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import PARAMS
from .store import dvc_errors

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

COPIED = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/config.local", "data/6_probes/README.md")
LINKED = ("gift_core", "stages", "data/mini", "data/0_raw")


def write_project(root: Path, params: str, config: Config, *, shares_cache: bool) -> None:
    """Makes the folder a DVC project like this one, with other settings. What has been run in it stays.

    `shares_cache`: DVC keeps its results in the cache of this project, or else in the folder, without a second copy.
    """
    from dvc.config import Config as DvcConfig
    from dvc.repo import Repo

    from gift_core.code.own_files import own_files
    from gift_core.config.own_code import files_of

    for name in (file for file in COPIED if Path(file).is_file()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, root / name)
    modules = own_files(Path(), files_of(config, config.run.methods))
    for name in (*LINKED, *modules, *(task.path for task in config.tasks.values())):
        if Path(name).exists() and not (root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(os.path.relpath(name, (root / name).parent))
    (root / PARAMS).write_text(params, encoding="utf-8")
    with dvc_errors(), closing(Repo()) as project, DvcConfig(str((root / ".dvc").resolve())).edit("local") as settings:
        settings["core"]["no_scm"] = True
        if shares_cache:
            settings["cache"]["dir"] = str(project.cache.local_cache_dir)
        else:
            settings["cache"] = {"dir": str((root / ".dvc" / "cache").resolve()), "type": "hardlink,symlink,copy"}
