"""The raw data that a clone does not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gift_core.config.tasks import TaskConfig
from gift_core.layout import Layout


def missing_raw_data(root: Path, tasks: Mapping[str, TaskConfig]) -> Iterator[str]:
    """Yields a sentence for each task whose raw data are not on this machine, although its images may be."""
    for name, task in tasks.items():
        path = root / task.path
        if path.is_symlink() and not path.exists():
            remedy = f"Mount it, or to keep data/1_tasks/{name} as it is: rm {task.path}; dvc repro --allow-missing"
            yield f"{task.path} is a link to {path.readlink()}, which is not there. {remedy}"
        elif not path.exists():
            pull = f"dvc pull {task.path}, or " if (root / f"{task.path}.dvc").is_file() else ""
            if Layout(root).task(name).exists():
                remedy = f"To keep data/1_tasks/{name} as it is: {pull}dvc repro --allow-missing"
            else:
                remedy = f"To get it: {pull}see gift data status"
            yield f"{task.path} is missing. {remedy}"
