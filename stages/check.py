"""check: validates params.yaml and writes which code every other stage runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.layout import CODE
from gift_core.quantities import plural
from gift_core.shipped import pipeline_root

from .report import retire
from .stage import PARAMS, ROOT, Params, Root, open_stage, params_of

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

SHOWN_FILES = 5


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
        from gift_core.team.raw_data import missing_raw_data

        require_task(stage.config, params.name)
        retire(stage, params)
        files = code_files(root, stage.config)
        for name, content in files.items():
            write_json(root / name, content)
        for former in {*(root / CODE).rglob("*.json")} - {root / name for name in files}:
            former.unlink()  # of a retired method or task
        stage.say(f"{params} is valid; {describe_edits(files.values())}")
        for note in dict.fromkeys(missing_raw_data(root, stage.config.tasks)):  # tasks can share a data set
            stage.say(note)


def code_files(root: Path, config: Config) -> dict[str, dict[str, Any]]:
    """Returns {path: content} of the files in data/code of the project in `root`, for the code that runs."""
    from gift_core.code import revisions
    from gift_core.code.revisions import read_blocks

    from .unfinished import running_code

    return revisions.code_files(running_code(), read_blocks(pipeline_root(root)), config)


def describe_edits(states: Iterable[Mapping[str, Any]]) -> str:
    """Returns what was edited of the code, in words. `states`: the contents of the files in data/code."""
    from gift_core.provenance import edited_files

    counting = {key.partition(": ")[0] for content in states for key in content.get("edited", ())}
    others = [name for name in edited_files() if name not in counting]
    edits = [f"{plural(len(counting), 'file')} of the code edited"] if counting else []
    if others:
        shown = ", ".join(others[:SHOWN_FILES]) + (" ..." if len(others) > SHOWN_FILES else "")
        edits.append(f"{plural(len(others), 'file')} edited that no stage depends on ({shown})")
    return "; ".join(edits) or "the code is as it was released"
