"""A model folder: open_clip's weights and configuration, tokenizer files, provenance.json and losses.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from gift_core.artifacts.contract import (
    broken,
    read_json,
    require_fields,
    require_file,
    require_hash,
    sha256_of,
    write_json,
)
from gift_core.errors import UserError, no_such_path
from gift_core.untrusted import parse_json, read_limited
from gift_core.work.partial import recover
from gift_core.work.publishing import write_atomically

_WRONG_LENGTH = ("not fully covered", "MetadataIncompleteBuffer")  # of safetensors' errors, by version
WEIGHTS = "open_clip_model.safetensors"
PATH_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")  # a name that ends so is a file of weights
CONFIG = "open_clip_config.json"
PROVENANCE = "provenance.json"
WEIGHTS_SHA256 = "weights_sha256"  # in provenance.json
FILES_SHA256 = "files_sha256"  # in provenance.json: of the configuration and the tokenizer
LOSSES = "losses.jsonl"
LOSS_FIELDS = ("iteration", "learning_rate", "task", "total")
ENTROPY = "_entropy"  # ends the field with the entropy of the teacher, beside the field of a cross-entropy to it
_FINETUNE = "finetune"
PRETRAINED = "pretrained"  # the folder of the model that import_model writes


class DamagedFileError(ValueError):
    """A file that is not a safetensors file, or is incomplete."""


class StoredTensor(NamedTuple):
    """What the header says of a tensor. `floating`: whether its numbers are floating-point numbers of any precision."""

    shape: tuple[int, ...]
    floating: bool


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Every tensor in the file by name, sorted.

    The whole header is checked, and the file's length against it, so a file that was copied only in part is found.
    DamagedFileError says what is wrong, but not the path or the remedy, which the caller knows. OSError where there is
    no file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            parts = {name: file.get_slice(name) for name in sorted(file.keys())}
            return {
                name: StoredTensor(tuple(part.get_shape()), "F" in part.get_dtype()) for name, part in parts.items()
            }
    except SafetensorError as error:
        if any(words in str(error) for words in _WRONG_LENGTH):
            raise DamagedFileError("it was cut short, or has bytes at its end that its header does not list") from error
        raise DamagedFileError(f"its header is damaged: {error}") from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in the file by name, sorted; errors as read_header."""
    return {name: tensor.shape for name, tensor in read_header(path).items()}


LossRow = Mapping[str, float]


def require_model_path(name: str) -> None:
    """Raises UserError, which names what is beside it, if `name` can only be a path and there is nothing.

    Names of open_clip (ViT-B-16, ViT-B/16, hf-hub:owner/model) pass. It is checked before torch is loaded.
    """
    path = Path(name)
    if name.startswith("hf-hub:") or path.exists():
        return
    begins_here = "/" in name and Path(path.parts[0]).exists()
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or path.suffix in PATH_SUFFIXES or begins_here:
        raise UserError(no_such_path(path, "file" if path.suffix in PATH_SUFFIXES else "folder"))


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
    """Returns the SHA-256 of the folder's weights file, by which other artifacts identify the model.

    ContractError if weights, configuration or tokenizer are missing or not the ones that were saved, and as noted_hash.
    """
    noted = noted_hash(folder)
    require_hash(folder / WEIGHTS, noted, _stage_of(folder))
    for name, digest in _noted_files(folder).items():
        require_hash(folder / name, digest, _stage_of(folder))
    return noted


def noted_hash(folder: Path) -> str:
    """Returns the hash that provenance.json notes, without reading the weights (see model_hash).

    ContractError if provenance.json is missing, notes no hash, or names another model than the folder
    data/5_models/<method>/<task>.
    """
    path, record = folder / PROVENANCE, read_provenance(folder)
    require_fields(path, record, {WEIGHTS_SHA256: str}, _stage_of(folder))
    expected = (None, None) if folder.name == PRETRAINED else (folder.parent.name, folder.name)
    found = (record.get("method"), record.get("task"))
    if found != expected:
        what = f"it should be of {_named(expected)}, it is of {_named(found)}: another model was put here"
        raise broken(path, what, _stage_of(folder))
    return str(record[WEIGHTS_SHA256])


def require_noted_files(folder: Path) -> None:
    """Raises UserError if provenance.json, where there is one, notes another hash of the weights or another file."""
    if not (folder / PROVENANCE).is_file():
        return
    noted = {WEIGHTS: read_provenance(folder).get(WEIGHTS_SHA256), **_noted_files(folder)}
    for name, digest in noted.items():
        file = folder / name
        if digest is not None and file.is_file() and sha256_of(file) != digest:
            raise UserError(
                f"{file}: its sha256 is not the one that {PROVENANCE} notes: the file was changed. "
                f"Fetch or make the folder again. If you changed it yourself, delete {PROVENANCE}."
            )


def _noted_files(folder: Path) -> dict[str, str]:
    """{file: SHA-256} of the files beside the weights, as provenance.json notes them; older ones note none."""
    path, record = folder / PROVENANCE, read_provenance(folder)
    noted = record.get(FILES_SHA256, {})
    require_fields(path, {FILES_SHA256: noted}, {FILES_SHA256: dict}, _stage_of(folder))
    require_fields(path, noted, dict.fromkeys(noted, str), _stage_of(folder))
    return {name: digest for name, digest in noted.items() if Path(name).name == name}


def write_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Writes provenance.json: the inputs and settings the model was made from. It holds no time and no host name.

    If the folder has open_clip's weights, their SHA-256 is added, and those of the files that are there with them.
    """
    if not (folder / WEIGHTS).is_file():
        write_json(folder / PROVENANCE, provenance)
        return
    others = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    files = {path.name: sha256_of(path) for path in others if path.name not in (WEIGHTS, PROVENANCE, LOSSES)}
    hashes = {WEIGHTS_SHA256: sha256_of(folder / WEIGHTS), FILES_SHA256: files}
    write_json(folder / PROVENANCE, {**provenance, **hashes})


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

    Between "task" and "total" there is one field for each replay loss. For a cross-entropy to the teacher there is also
    "<loss>_entropy", the teacher's own entropy with the same weight. Their difference is the KL divergence. "total" is
    the sum of the losses without these fields. ContractError if a row lacks a field, has
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
        rows = [parse_json(line) for line in read_limited(path).splitlines()]
    except ValueError as error:
        raise broken(path, f"each line should be a JSON object, but {error}", _FINETUNE) from error
    _require_sound_losses(path, rows)
    return rows


def _named(model: tuple[Any, Any]) -> str:
    method, task = model
    return "the pre-trained model" if model == (None, None) else f"method {method!r} after task {task!r}"


def _stage_of(folder: Path) -> str:
    return "import_model" if folder.name == PRETRAINED else _FINETUNE


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
