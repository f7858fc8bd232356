"""What DVC does not compare: the code that runs with that of `check`, and settings that change while a stage runs.

Also whether the model, the methods and the classes fit each other, which no stage needs that is done early: a stage
that only refuses depends on nothing, so adding a task makes none stale. `import_model` and `ingest` run in any order,
and whichever is later finds out.

DVC never reads the code again after `check`, and reads the settings once more when a stage has ended. So a result could
be recorded as that of other code or other settings. A stage that is run by hand is not recorded, and not compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.config.method_options import READ_BY
from gift_core.errors import UserError
from gift_core.layout import CODE, pipeline_root, watched_path
from gift_core.process_variables import DVC_STAGE
from gift_core.untrusted import MAX_YAML_BYTES, parse_yaml, read_json_file, read_limited

from ..code_files import code_file, code_files, content_of, named_files
from ..options import PARAMS
from ..stage import Stage

if TYPE_CHECKING:
    from gift_core.clip.model import Clip
    from gift_core.datasets.dataset import Dataset


def require_checked_code(opened: Stage) -> None:
    """Raises UserError where DVC runs the stage, and its code was edited after `check` wrote it into data/code."""
    stage, method = opened.stage, opened.method
    root = opened.layout.root
    file = root / code_file(stage, method)
    if DVC_STAGE not in os.environ or not file.is_file():
        return
    now, checked = content_of(stage, method, opened.config, root), read_json_file(file)
    edited = {
        "settings": f"{PARAMS}: methods.{method}".rstrip("."),
        "files": "a file that settings name",
        "own_code": "a file that the method names",
    }
    changed = next((key for key in edited if checked.get(key) != now.get(key)), "code")
    if checked != now:
        edit = f"{edited.get(changed, 'the code')} was edited after `check` ran"
        why = f"so the result would be recorded as that of other {changed}"
        raise UserError(f"{stage}: {edit}, {why}. Run dvc repro again.")


def require_named_files(opened: Stage) -> None:
    """Raises UserError where DVC runs `check`, and a file in WATCHED that settings name is not here, nor its hash.

    A clone without the results has neither. `check` would change dvc.lock, and the results would fit it no more.
    """
    config, root = opened.config, opened.layout.root
    if DVC_STAGE not in os.environ:
        return
    for file, content in code_files(config, root).items():
        stage, *method = Path(file).relative_to(CODE).with_suffix("").parts
        paths = [watched_path(name, root) for name in named_files(stage, "".join(method), config)]
        missing = [path for path in paths if path and path not in content.get("files", {})]
        if missing:
            remedy = "In the clone of a project whose results are shared, run: gift get. Or put it there"
            raise UserError(f"{missing[0]}: params.yaml names it, and it is not there. {remedy}, or correct the name.")


def require_usable_model(opened: Stage, clip: Clip) -> None:
    """Raises UserError where a method that runs cannot train the model or take its replay, or the model cannot tell two
    classes of the ingested tasks apart."""
    from gift_core.clip.same_tokens import tokenizer_of
    from gift_core.config.replay_options import RandomTextsConfig
    from gift_core.doctor.distinct_classes import require_known_classes
    from gift_core.doctor.finding import Project
    from gift_core.method.loaded_code import require_working
    from gift_core.method.methods import build_method
    from gift_core.method.replay.current_task import random_token_rows
    from gift_core.method.training.loop import require_trainable

    for name in opened.config.run.methods:
        row = opened.config.methods[name]
        texts = getattr(row.replay, "texts", None)
        try:
            require_working(f"methods.{name}", row, opened.layout.root)
            require_trainable(clip, opened.config.training, build_method(row, root=opened.layout.root))
            if isinstance(texts, RandomTextsConfig):
                random_token_rows(clip, texts.count, texts.length, ())
        except UserError as error:
            raise UserError(f"{PARAMS}: methods.{name}: {error}") from None
    require_known_classes(Project(opened.layout.root, opened.config), tokenizer=tokenizer_of(clip.tokenizer))


def require_distinct_classes(opened: Stage, dataset: Dataset) -> None:
    """Raises UserError where the model cannot tell two classes apart, of the data set of the stage's task or of the
    ingested tasks. The model has to be on this machine."""
    from gift_core.doctor.distinct_classes import described, require_known_classes
    from gift_core.doctor.finding import Project

    project = Project(opened.layout.root, opened.config)
    require_known_classes(project, new=described(opened.task, dataset))


def require_same_settings(opened: Stage, params: Path, before: bytes) -> None:
    """Raises UserError where DVC runs the stage, and a value that it records is not as in `before`, the file's content
    when the stage began."""
    stage, method = opened.stage, opened.method
    if DVC_STAGE not in os.environ:
        return
    now = params.read_bytes()
    if now == before:
        return
    try:
        old, new = parse_yaml(before), parse_yaml(now)
    except ValueError as error:
        problem = f"{params.name} was edited while {stage} ran, and cannot be read ({error})"
        raise UserError(f"{problem}. The result is not recorded. Correct the file and run dvc repro again.") from None
    block = parse_yaml(read_limited(pipeline_root(opened.layout.root) / "dvc.yaml", MAX_YAML_BYTES))["stages"][stage]
    written = block.get("do", block).get("params", [])
    keys = [key.replace("${item.method}", method).replace("${key}", opened.task) for key in written]
    rows = [value_at(content, f"methods.{method}") for content in (old, new)]
    names = {name for row in rows if isinstance(row, Mapping) for name in row}
    keys += [f"methods.{method}.{name}" for name in sorted(names) if READ_BY.get(name, "finetune") == stage]
    changed = [key for key in keys if value_at(old, key) != value_at(new, key)]
    if changed:
        problem = f"{params.name}: {changed[0]} changed while {stage} ran. The result has the former value"
        raise UserError(f"{problem}, and is not recorded. Run dvc repro again.")


def value_at(content: Any, key: str) -> Any:
    """Returns the value of a dotted key, such as run.methods, in the content of a YAML file; None without the key."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content
