"""check: validates params.yaml and writes which code every other stage runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.code.versions import running_code
from gift_core.layout import CODE, Layout
from gift_core.quantities import first_names, plural

from .code_files import code_files
from .report import retire
from .stage import PARAMS, ROOT, Params, Root, open_stage, params_of

if TYPE_CHECKING:
    from gift_core.config.tasks import TaskConfig


def check(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Check params.yaml, and write what each stage depends on of the code into data/code.

    DVC runs this stage first. An error in params.yaml stops here, before any
    result is removed. Accuracies and predictions of methods and tasks that are
    no part of the experiment any more are moved to .gift/retired.

    Example: gift check
    """
    params = params_of(params, root)
    with open_stage("check", params, root) as stage:
        from gift_core.artifacts.contract import write_json
        from gift_core.config.checks import require_task

        require_task(stage.config, params.name)
        retire(stage, params)
        files = code_files(stage.config, root)
        for name, content in files.items():
            write_json(root / name, content)
        for former in {*(root / CODE).rglob("*.json")} - {root / name for name in files}:
            former.unlink()  # of a retired method or task
        stage.say(f"{params} is valid; {describe_edits()}")
        for note in dict.fromkeys(missing_raw_data(root, stage.config.tasks)):  # tasks can share a data set
            stage.say(note)


def describe_edits() -> str:
    """Returns what was edited of the code that stages run, in words."""
    edited = running_code().edited
    files = f"{plural(len(edited), 'file')} of the code edited ({first_names(list(edited))})"
    return files if edited else "the code is as it was released"


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
