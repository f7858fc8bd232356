"""Features that the teacher computed for replay: of image-text pairs, of only images, or of only texts.

M pairs, N images, P texts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gift_core.artifacts.tables import read_table, write_table

STAGE = "teach"
FEATURES = "features.parquet"
IMAGE_FEATURES = "image_features.parquet"
TEXT_FEATURES = "text_features.parquet"
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
        sizes = [each.list_size for each in found.types if pa.types.is_fixed_size_list(each)]
        vectors = pa.list_(pa.float32(), sizes[0] if sizes else 1)
        return pa.schema([(name, _TYPES.get(name, vectors)) for name in _COLUMNS[kind]])

    table, metadata = read_table(path, schema, STAGE)
    names, *others = _COLUMNS[kind]
    values: list[Any] = [tuple(table[names].to_pylist())]
    values += [table[name].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1) for name in others]
    values.append(metadata)
    return kind(*values)
