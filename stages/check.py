"""check: validates params.yaml and writes which code every other stage runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.code.versions import running_code
from gift_core.layout import CODE, Layout
from gift_core.quantities import first_names, plural

from .code_files import code_files, watch
from .open_stage import open_stage
from .options import PARAMS, ROOT, Params, Root, params_of
from .retired import retire
from .stage import Stage

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
        from gift_core.config.own_code import require_own_code
        from gift_core.tracking.tracked_run import require_tracker

        from .dvc.guards import require_named_files

        require_task(stage.config, params.name)
        require_tracker()
        require_reference(stage)
        require_own_code(stage.config, root)
        require_named_files(stage)
        if watched := watch(stage.config, root):
            stage.say(f"dvc.yaml: this stage depends on {first_names(watched)} now, so that an edit counts")
        retire(stage, params)
        files = code_files(stage.config, root)
        for name, content in files.items():
            write_json(root / name, content)
        for former in {*(root / CODE).rglob("*.json")} - {root / name for name in files}:
            former.unlink()  # of a retired method or task
        stage.say(f"{params} is valid; {describe_edits()}")
        for note in dict.fromkeys(missing_raw_data(root, stage.config.tasks)):  # tasks can share a data set
            stage.say(note)


def require_reference(stage: Stage) -> None:
    """Raises UserError for a folder that a method replays, and an image in it without caption. It may be missing, like
    other raw data: the results may be there."""
    from gift_core.config.replay_options import ReferenceReplayConfig
    from gift_core.datasets.image_captions import captioned_images

    for name in stage.config.run.methods:
        replay = stage.config.methods[name].replay
        if isinstance(replay, ReferenceReplayConfig) and (folder := stage.layout.root / replay.folder).is_dir():
            captioned_images(folder, f"params.yaml: methods.{name}.replay.folder")


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
