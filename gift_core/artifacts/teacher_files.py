"""The files of a teacher's folder: its features, Fisher information and kept images, and source.json about them all.

The stage finetune depends on this folder and not on the shards. source.json changes whenever they do.

M pairs, N images, P texts, L tokens, D features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gift_core.artifacts.contract import (
    broken,
    read,
    read_table,
    require_file,
    require_hashes,
    sha256_of,
    write_json,
    write_table,
)
from gift_core.artifacts.tars import image_extension, stored_samples, write_tar
from gift_core.work.publishing import write_atomically

STAGE = "teach"
SOURCE = "source.json"
FEATURES = "features.parquet"
IMAGE_FEATURES = "image_features.parquet"
TEXT_FEATURES = "text_features.parquet"
FISHER = "fisher.safetensors"
FISHER_KEY = "fisher"  # one key only: safetensors writes several keys in an order that changes from run to run
TAR, TABLE = "exemplars.tar", "exemplars.parquet"  # the table lists the images, and notes the tar's hash
HASH = "tar_sha256"  # in the table's metadata; missing if there is no tar
_TYPES = {"key": pa.string(), "text": pa.string(), "tokens": pa.list_(pa.int64())}  # any other column has vectors
Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("task", pa.string()),
        ("label", pa.int64()),
        ("class_name", pa.string()),
        ("prompt", pa.string()),
        ("rank", pa.int64()),  # 0: chosen first within its class
    ]
)


class Source(BaseModel):
    """The content of source.json. `read` maps what was read to its SHA-256, `model` identifies the teacher.

    `files`: the SHA-256 of every other file in the folder. Without replay, `read` and `model` are empty and nothing is
    computed, so there is no environment, and the file never changes.
    """

    replay: str
    model: str
    read: dict[str, str]
    files: dict[str, str]
    environment: dict[str, str | int] | None = None


def write_source(
    folder: Path,
    *,
    replay: str,
    read: Mapping[str, str],
    model: str = "",
    environment: dict[str, str | int] | None = None,
) -> None:
    """Writes source.json, after every other file of the folder."""
    others = (path for path in sorted(folder.glob("*")) if path.name[0] != "." and path.name != SOURCE)
    files = {path.name: sha256_of(path) for path in others}
    source = Source(replay=replay, model=model, read=dict(read), files=files, environment=environment)
    write_json(folder / SOURCE, source.model_dump(exclude_none=True))


def read_source(folder: Path) -> Source:
    """Returns the content of source.json. ContractError if it is missing or has another content."""
    return read(Source, folder / SOURCE, STAGE)


def require_unchanged(folder: Path) -> None:
    """Raises ContractError unless the folder has the files that were written, by their hashes in source.json."""
    require_hashes(folder, read_source(folder).files, STAGE)


@dataclass(frozen=True)
class Features:
    """Features of image-text pairs: unit-norm float32 image_MD and text_MD, rows in the order of `keys`."""

    keys: tuple[str, ...]
    image_MD: Floats
    text_MD: Floats
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class ImageFeatures:
    """Features of images: unit-norm float32 image_ND, rows in the order of `keys`. Keys are unique."""

    keys: tuple[str, ...]
    image_ND: Floats
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class TextFeatures:
    """Features of texts: unit-norm float32 text_PD of the token ids tokens_PL (int64), rows in the order of `texts`.

    Different texts may have the same tokens, because tokenizers fold case.
    """

    texts: tuple[str, ...]
    tokens_PL: Tokens
    text_PD: Floats
    metadata: Mapping[str, str]


# The columns of each, in the order of its fields.
_COLUMNS = {
    Features: ("key", "image_emb", "text_emb"),
    ImageFeatures: ("key", "image_emb"),
    TextFeatures: ("text", "tokens", "text_emb"),
}
F = TypeVar("F", Features, ImageFeatures, TextFeatures)


def write_features(path: Path, features: F) -> None:
    """Writes a column for the names, one for tokens (list<int64>), and image_emb and text_emb, whose vectors are
    fixed_size_list<float32>[D]."""
    columns: dict[str, pa.Array] = {}
    for name, values in zip(_COLUMNS[type(features)], vars(features).values(), strict=False):  # the last is metadata
        if name in _TYPES:
            columns[name] = pa.array(values.tolist() if isinstance(values, np.ndarray) else values, _TYPES[name])
        else:
            flat = pa.array(np.ascontiguousarray(values).reshape(-1), pa.float32())
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    write_table(path, pa.table(columns), features.metadata)


def read_features(path: Path, kind: type[F]) -> F:
    """Returns the features. ContractError if the file is missing or damaged, or has other columns."""

    def schema(found: pa.Schema) -> pa.Schema:
        sizes = [column.list_size for column in found.types if pa.types.is_fixed_size_list(column)]
        vectors = pa.list_(pa.float32(), sizes[0] if sizes else 1)
        return pa.schema([(name, _TYPES.get(name, vectors)) for name in _COLUMNS[kind]])

    table, metadata = read_table(path, schema, STAGE)
    names, *others = _COLUMNS[kind]
    values: list[Any] = [tuple(table[names].to_pylist())]
    values += [table[name].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1) for name in others]
    values.append(metadata)
    return kind(*values)


@dataclass(frozen=True)
class Fisher:
    """Diagonals by parameter name (>= 0, in the parameter's shape), the estimator's name and the model's SHA-256."""

    diagonals: Mapping[str, Floats]
    estimator: str
    model: str


def write_fisher(path: Path, fisher: Fisher) -> None:
    """Writes the diagonals sorted by name."""
    note = json.dumps({"estimator": fisher.estimator, "model": fisher.model}, sort_keys=True)
    tensors = {name: np.ascontiguousarray(fisher.diagonals[name]) for name in sorted(fisher.diagonals)}
    with write_atomically(path) as temporary:
        temporary.write_bytes(save(tensors, {FISHER_KEY: note}))


def read_fisher(path: Path) -> Fisher:
    """Returns the diagonals. ContractError if the file is missing or damaged."""
    require_file(path, STAGE)
    try:
        with safe_open(path, framework="np") as file:
            note = json.loads((file.metadata() or {})[FISHER_KEY])
            diagonals = {name: file.get_tensor(name) for name in sorted(file.keys())}
            return Fisher(diagonals, note["estimator"], note["model"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        problem = f"it should be safetensors with an estimator and a model in its metadata ({error!r})"
        raise broken(path, problem, STAGE) from error


@dataclass(frozen=True)
class Exemplar:
    """A kept image (encoded, PNG or JPEG) of class `label` of `task`, with the class's prompt.

    `rank` counts within the class from 0, the image chosen first. To keep fewer images of a class, keep those of the
    lowest ranks.
    """

    key: str
    task: str
    label: int
    class_name: str
    prompt: str
    rank: int
    image: bytes


def write_exemplars(folder: Path, exemplars: Sequence[Exemplar]) -> None:
    """Writes exemplars.tar and then exemplars.parquet. The same exemplars give the same bytes.

    Without exemplars, as before the first task, the table has no rows and there is no tar. ValueError for an image
    that is neither PNG nor JPEG.
    """
    tar = folder / TAR
    if exemplars:
        images = ((exemplar.key, exemplar.image) for exemplar in exemplars)
        write_tar(tar, ((key, {image_extension(image): image}) for key, image in images))
    else:
        tar.unlink(missing_ok=True)
    rows = [{name: getattr(exemplar, name) for name in SCHEMA.names} for exemplar in exemplars]
    notes = {HASH: sha256_of(tar)} if exemplars else {}
    write_table(folder / TABLE, pa.Table.from_pylist(rows, schema=SCHEMA), notes)


def read_exemplars(folder: Path) -> list[Exemplar]:
    """Returns the exemplars in the order they were written.

    ContractError if a file is missing or damaged, or the tar is not the one the table was written for.
    """
    table, notes = read_table(folder / TABLE, SCHEMA, STAGE)
    rows = table.to_pylist()
    if not rows:
        return []
    require_hashes(folder, {TAR: notes.get(HASH, "none noted")}, STAGE)
    images = [image.read() for _, files in stored_samples(folder / TAR, STAGE) for image in files.values()]
    return [Exemplar(**row, image=image) for row, image in zip(rows, images, strict=True)]
