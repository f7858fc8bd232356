"""A model folder: open_clip's weights and configuration, tokenizer files, provenance.json and losses.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import (
    broken,
    read_json,
    require_fields,
    require_file,
    sha256_of,
    write_atomically,
    write_json,
)
from gift_core.artifacts.partial import recover
from gift_core.artifacts.safetensors_files import DamagedFileError, read_shapes

WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"
PROVENANCE = "provenance.json"
LOSSES = "losses.jsonl"
LOSS_FIELDS = ("iteration", "learning_rate", "task", "total")
LossRow = Mapping[str, float]
_FINETUNE = "finetune"


def require_model_folder(folder: Path, stage: str) -> None:
    """Raises ContractError unless the folder holds a complete open_clip model. The weights are not loaded.

    `stage` is the one that makes the folder again: import_model or finetune.
    """
    recover(folder)
    if not folder.is_dir():
        raise broken(folder, "the model folder is missing", stage)
    record = read_json(folder / CONFIG, stage)
    require_fields(folder / CONFIG, record, {"model_cfg": dict, "preprocess_cfg": dict}, stage)
    _require_whole_weights(folder / WEIGHTS, stage)


def model_hash(folder: Path) -> str:
    """Returns the SHA-256 of the folder's weights file, by which other artifacts identify the model."""
    require_file(folder / WEIGHTS, _stage_of(folder))
    return sha256_of(folder / WEIGHTS)


def write_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Writes provenance.json: the inputs and settings the model was made from. It holds no time and no host name."""
    write_json(folder / PROVENANCE, dict(provenance))


def read_provenance(folder: Path) -> dict[str, Any]:
    """Returns provenance.json. ContractError if it is missing or is not a JSON object."""
    return read_json(folder / PROVENANCE, _stage_of(folder))


def record_hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of provenance.json and of losses.jsonl (a model that is not trained has none).

    The stage evaluate writes them into the accuracy file. provenance.json has the hashes of what the model was made
    from, so whatever the report reads of the steps before changes an accuracy file, too.
    """
    require_file(folder / PROVENANCE, _stage_of(folder))
    files = {"provenance": folder / PROVENANCE, "losses": folder / LOSSES}
    return {name: sha256_of(file) for name, file in files.items() if file.is_file()}


def write_losses(path: Path, rows: Iterable[LossRow]) -> None:
    """Writes losses.jsonl, one line per iteration: {"iteration": 0, "learning_rate": .., "task": .., "total": ..}.

    Between "task" and "total" there is one field for each replay loss. ContractError if a row lacks a field, has
    other fields than the first row, or holds a number that is not finite.
    """
    rows = list(rows)
    _require_sound_losses(path, rows)
    text = "".join(json.dumps(dict(row)) + "\n" for row in rows)
    with write_atomically(path) as temporary:
        temporary.write_bytes(text.encode("ascii"))


def read_losses(path: Path) -> list[dict[str, float]]:
    """Returns the rows in their order. ContractError if the file is missing or a row is invalid."""
    require_file(path, _FINETUNE)
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    except ValueError as error:
        raise broken(path, f"each line should be a JSON object, but {error}", _FINETUNE) from error
    _require_sound_losses(path, rows)
    return rows


def _stage_of(folder: Path) -> str:
    return "import_model" if folder.name == "pretrained" else _FINETUNE


def _require_whole_weights(path: Path, stage: str) -> None:
    require_file(path, stage)
    try:
        read_shapes(path)
    except DamagedFileError as error:
        raise broken(path, f"it should be a whole safetensors file, but {error}", stage) from error


def _require_sound_losses(path: Path, rows: Sequence[LossRow]) -> None:
    if not rows:
        raise broken(path, "there should be at least one row", _FINETUNE)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise broken(path, f"each line should be a JSON object, line {number + 1} is {row!r}", _FINETUNE)
        problem = _problem_of(row, number, first=rows[0])
        if problem:
            raise broken(path, f"line {number + 1} {problem}", _FINETUNE)


def _problem_of(row: LossRow, number: int, *, first: LossRow) -> str | None:
    missing = [name for name in LOSS_FIELDS if name not in row]
    if missing:
        return f"should have {', '.join(LOSS_FIELDS)}; {missing[0]} is missing"
    if list(row) != list(first):
        return f"should have the fields of line 1: {', '.join(first)}"
    if row["iteration"] != number:
        return f"should be iteration {number}, it is iteration {row['iteration']}"
    bad = [name for name, value in row.items() if not isinstance(value, int | float) or not math.isfinite(value)]
    return f"should hold finite numbers, {bad[0]} is {row[bad[0]]!r}" if bad else None
