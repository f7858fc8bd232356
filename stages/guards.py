"""What DVC does not compare: the code that runs with that of `check`, and settings that change while a stage runs.

DVC never reads the code again after `check`, and reads the settings once more when a stage has ended. So a result could
be recorded as that of other code or other settings. A stage that is run by hand is not recorded, and not compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.config.experiment import Config
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.revisions import options_of
from gift_core.shipped import pipeline_root
from gift_core.stage_graph import read_blocks
from gift_core.untrusted import parse_yaml, read_json_file

from .unfinished import running_code

DVC_STAGE = "DVC_STAGE"  # in the environment of a command that DVC or `gift run` starts


def require_checked_code(layout: Layout, config: Config, stage: str, method: str, task: str) -> None:
    """Raises UserError where DVC runs the stage, and its code was edited after `check` wrote it into data/code."""
    options = options_of(stage, config)
    folder, name = layout.root / "data" / "code", method or task
    own = folder / stage / f"{name}.json"
    file = own if own.is_file() else folder / f"{stage}.json"
    if DVC_STAGE not in os.environ or not file.is_file():
        return
    chosen = options.get(name, []) if own.is_file() else sorted({each for row in options.values() for each in row})
    checked, found = read_json_file(file), running_code().state(stage, chosen)
    if checked != found:
        before, now = checked.get("edited", {}), found.get("edited", {})
        edited = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        what = f"the code was edited after `check` ran{f' ({edited[0]})' if edited else ''}"
        raise UserError(f"{stage}: {what}, so the result would be recorded as that of other code. Run dvc repro again.")


def require_same_settings(
    layout: Layout, config: Config, stage: str, method: str, task: str, *, params: Path, before: bytes
) -> None:
    """Raises UserError where DVC runs the stage, and a value that it records has changed in the params file since then.

    `before` is the content of the file when the stage began.
    """
    now = params.read_bytes() if DVC_STAGE in os.environ else before
    if now == before:
        return
    try:
        old, new = (parse_yaml(text.decode("utf-8")) for text in (before, now))
    except ValueError as error:
        what = f"{params.name} was edited while {stage} ran, and cannot be read ({error})"
        raise UserError(f"{what}. The result is not recorded. Correct the file and run dvc repro again.") from None
    (block,) = (block for block in read_blocks(pipeline_root(layout.root)) if block.name == stage)
    for key in (key.replace("${item.method}", method).replace("${key}", task) for key in block.params):
        if _value(old, key) != _value(new, key):
            what = f"{params.name}: {key} changed while {stage} ran. The result has the former value"
            raise UserError(f"{what}, and is not recorded. Run dvc repro again.")


def _value(value: Any, key: str) -> Any:
    """The value of a dotted key in the content of a params file, None where it has none."""
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
