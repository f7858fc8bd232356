"""What DVC does not compare: the code that runs with that of `check`, and settings that change while a stage runs.

DVC never reads the code again after `check`, and reads the settings once more when a stage has ended. So a result could
be recorded as that of other code or other settings. A stage that is run by hand is not recorded, and not compared.
"""

from __future__ import annotations

import os
from pathlib import Path

from gift_core.code.revisions import PARAMS, options_of, read_blocks, settings_of, value_at
from gift_core.errors import UserError
from gift_core.layout import CODE
from gift_core.shipped import pipeline_root
from gift_core.untrusted import parse_yaml, read_json_file

from ..stage import Stage
from ..unfinished import running_code

DVC_STAGE = "DVC_STAGE"  # in the environment of a command that DVC or `gift run` starts


def require_checked_code(opened: Stage) -> None:
    """Raises UserError where DVC runs the stage, and its code was edited after `check` wrote it into data/code."""
    stage, name, folder = opened.stage, opened.method or opened.task, opened.layout.root / CODE
    options, file = options_of(stage, opened.config), folder / stage / f"{name}.json"
    chosen = options.get(name, [])
    if not file.is_file():  # one file for all tasks and methods
        file, chosen = folder / f"{stage}.json", sorted({each for row in options.values() for each in row})
    if DVC_STAGE not in os.environ or not file.is_file():
        return
    found = running_code().state(stage, chosen) | (settings_of(stage, name, opened.config) if name in options else {})
    if (checked := read_json_file(file)) != found:
        changed, other = f"{PARAMS}: methods.{name} was", "settings"
        if checked.get("settings") == found.get("settings"):
            edited = {*checked.get("edited", {}).items()} ^ {*found.get("edited", {}).items()}
            changed, other = "the code was", f"code{f' ({min(edited)[0]})' if edited else ''}"
        what = f"{changed} edited after `check` ran, so the result would be recorded as that of other {other}"
        raise UserError(f"{stage}: {what}. Run dvc repro again.")


def require_same_settings(opened: Stage, params: Path, before: bytes) -> None:
    """Raises UserError where DVC runs the stage, and a value that it records is not as in `before`, the file's content
    when the stage began."""
    stage, method = opened.stage, opened.method
    if DVC_STAGE not in os.environ or (now := params.read_bytes()) == before:
        return
    try:
        old, new = parse_yaml(before), parse_yaml(now)
    except ValueError as error:
        what = f"{params.name} was edited while {stage} ran, and cannot be read ({error})"
        raise UserError(f"{what}. The result is not recorded. Correct the file and run dvc repro again.") from None
    (block,) = (block for block in read_blocks(pipeline_root(opened.layout.root)) if block.name == stage)
    keys = [key.replace("${item.method}", method).replace("${key}", opened.task) for key in block.params]
    if stage in ("finetune", "evaluate"):  # the keys of the method's row that settings_of takes
        names = {name for content in (old, new) for name in content["methods"].get(method, ())}
        keys += [f"methods.{method}.{name}" for name in sorted(names) if (name == "release") == (stage == "evaluate")]
    if changed := [key for key in keys if value_at(old, key) != value_at(new, key)]:
        what = f"{params.name}: {changed[0]} changed while {stage} ran. The result has the former value"
        raise UserError(f"{what}, and is not recorded. Run dvc repro again.")
