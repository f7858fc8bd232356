"""What DVC does not compare: the code that runs with that of `check`, and settings that change while a stage runs.

DVC never reads the code again after `check`, and reads the settings once more when a stage has ended. So a result could
be recorded as that of other code or other settings. A stage that is run by hand is not recorded, and not compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.config.method_options import READ_BY
from gift_core.errors import UserError
from gift_core.layout import pipeline_root
from gift_core.untrusted import MAX_YAML_BYTES, parse_yaml, read_json_file, read_limited

from ..code_files import code_file, content_of
from ..stage import PARAMS, Stage

DVC_STAGE = "DVC_STAGE"  # in the environment of a command that DVC or `gift run` starts


def require_checked_code(opened: Stage) -> None:
    """Raises UserError where DVC runs the stage, and its code was edited after `check` wrote it into data/code."""
    stage, method, root = opened.stage, opened.method, opened.layout.root
    file = root / code_file(stage, method)
    if DVC_STAGE not in os.environ or not file.is_file():
        return
    found, checked = content_of(stage, method, opened.config, root), read_json_file(file)
    edited = {"settings": f"{PARAMS}: methods.{method}", "files": "a file that settings name"}
    changed = next((key for key in edited if checked.get(key) != found.get(key)), "code")
    if checked != found:
        what = f"{edited.get(changed, 'the code')} was edited after `check` ran"
        why = f"so the result would be recorded as that of other {changed}"
        raise UserError(f"{stage}: {what}, {why}. Run dvc repro again.")


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
    block = parse_yaml(read_limited(pipeline_root(opened.layout.root) / "dvc.yaml", MAX_YAML_BYTES))["stages"][stage]
    written = block.get("do", block).get("params", [])
    keys = [key.replace("${item.method}", method).replace("${key}", opened.task) for key in written]
    rows = [value_at(content, f"methods.{method}") for content in (old, new)]
    names = {name for row in rows if isinstance(row, Mapping) for name in row}
    keys += [f"methods.{method}.{name}" for name in sorted(names) if READ_BY.get(name, "finetune") == stage]
    if changed := [key for key in keys if value_at(old, key) != value_at(new, key)]:
        what = f"{params.name}: {changed[0]} changed while {stage} ran. The result has the former value"
        raise UserError(f"{what}, and is not recorded. Run dvc repro again.")


def value_at(content: Any, key: str) -> Any:
    """Returns the value of a dotted key, such as run.methods, in the content of a YAML file; None without the key."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content
