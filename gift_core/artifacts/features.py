"""Features that the teacher computed for replay: of image-text pairs, of only images, or of only texts.

M pairs, N images, P texts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gift_core.artifacts.contract import broken
from gift_core.artifacts.tables import read_table, write_table

STAGE = "teach"
FEATURES = "features.parquet"
IMAGE_FEATURES = "image_features.parquet"
TEXT_FEATURES = "text_features.parquet"
UNIT_TOLERANCE = 1e-3  # bfloat16 autocast leaves norms within 4e-4 of 1 after normalizing in float32
_TYPES = {"key": pa.string(), "text": pa.string(), "tokens": pa.list_(pa.int64())}  # any other column has vectors
Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]


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


def write_features(
    path: Path, keys: Sequence[str], image_MD: Floats, text_MD: Floats, metadata: Mapping[str, str]
) -> None:
    """Writes the columns key, image_emb and text_emb (fixed_size_list<float32>[D])."""
    _write(path, {"key": keys, "image_emb": image_MD, "text_emb": text_MD}, metadata)


def read_features(path: Path) -> Features:
    """Returns the features of the pairs. ContractError if the file is missing, or a row does not have norm 1."""
    found, metadata = _read(path, "key", "image_emb", "text_emb")
    return Features(found["key"], found["image_emb"], found["text_emb"], metadata)


def write_image_features(path: Path, features: ImageFeatures) -> None:
    """Writes the columns key and image_emb (fixed_size_list<float32>[D])."""
    _write(path, {"key": features.keys, "image_emb": features.image_ND}, features.metadata)


def read_image_features(path: Path) -> ImageFeatures:
    """Returns the features of the images. ContractError as read_features."""
    found, metadata = _read(path, "key", "image_emb")
    return ImageFeatures(found["key"], found["image_emb"], metadata)


def write_text_features(path: Path, features: TextFeatures) -> None:
    """Writes the columns text, tokens (list<int64>) and text_emb (fixed_size_list<float32>[D])."""
    columns = {"text": features.texts, "tokens": features.tokens_PL.tolist(), "text_emb": features.text_PD}
    _write(path, columns, features.metadata)


def read_text_features(path: Path) -> TextFeatures:
    """Returns the features of the texts. ContractError as read_features."""
    found, metadata = _read(path, "text", "tokens", "text_emb")
    return TextFeatures(found["text"], found["tokens"], found["text_emb"], metadata)


def _write(path: Path, columns: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    def column(name: str) -> pa.Array:
        if name in _TYPES:
            return pa.array(columns[name], _TYPES[name])
        values_ND = np.ascontiguousarray(columns[name])
        return pa.FixedSizeListArray.from_arrays(pa.array(values_ND.reshape(-1), pa.float32()), values_ND.shape[1])

    write_table(path, pa.table({name: column(name) for name in columns}), metadata)


def _read(path: Path, *columns: str) -> tuple[dict[str, Any], dict[str, str]]:
    """({column: names, tokens_PL or vectors_ND}, metadata). The first column has the names of the rows."""

    def schema(found: pa.Schema) -> pa.Schema:
        sizes = [kind.list_size for kind in found.types if pa.types.is_fixed_size_list(kind)]
        vectors = pa.list_(pa.float32(), sizes[0] if sizes else 1)
        return pa.schema([(name, _TYPES.get(name, vectors)) for name in columns])

    table, metadata = read_table(path, schema, STAGE)
    names = tuple(table[columns[0]].to_pylist())
    if not names or (columns[0] == "key" and len(set(names)) < len(names)):
        raise broken(path, f"there should be rows, each with a {columns[0]} of its own", STAGE)
    found: dict[str, Any] = {columns[0]: names}
    for name in columns[1:]:
        lengths, flat = pc.unique(pc.list_value_length(table[name])).to_pylist(), table[name].combine_chunks().flatten()
        if len(lengths) != 1 or not lengths[0] or flat.null_count:
            raise broken(path, f"{name} should be full rows of one length, there are rows of {lengths}", STAGE)
        found[name] = flat.to_numpy(zero_copy_only=False).reshape(len(names), -1)
        if name in _TYPES:
            continue
        norms_N = np.linalg.norm(found[name].astype(np.float64), axis=1)
        off = ~(np.abs(norms_N - 1) < UNIT_TOLERANCE)
        if off.any():
            row = int(np.argmax(off))
            what = f"rows of {name} should have norm 1; {int(off.sum())} have not, the first is {names[row]}"
            raise broken(path, f"{what} with {norms_N[row]:.4f}", STAGE)
    return found, metadata
