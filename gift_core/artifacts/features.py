"""Features that the teacher computed for replay: of image-text pairs, of only images, or of only texts.

M pairs, N images, P texts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gift_core.artifacts.contract import broken
from gift_core.artifacts.tables import (
    Floats,
    as_column,
    as_vectors,
    read_vectors,
    require_unit_rows,
    vector_type,
    write_table,
)

STAGE = "teach"
FEATURES = "features.parquet"
IMAGE_FEATURES = "image_features.parquet"
TEXT_FEATURES = "text_features.parquet"
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
    """Writes the columns key, image_emb and text_emb (fixed_size_list<float32>[D]).

    ContractError if keys repeat, the sizes differ or a row does not have norm 1.
    """
    features = Features(tuple(keys), np.asarray(image_MD), np.asarray(text_MD), metadata)
    _require_sound_pairs(path, features)
    columns = [pa.array(features.keys, pa.string()), as_column(features.image_MD), as_column(features.text_MD)]
    write_table(path, pa.Table.from_arrays(columns, schema=_pair_schema(image_MD.shape[1])), metadata)


def read_features(path: Path) -> Features:
    """Returns the features of the pairs. ContractError if the file is missing or invalid (see write_features)."""
    table, metadata = read_vectors(path, "image_emb", _pair_schema, STAGE)
    keys = tuple(table["key"].to_pylist())
    features = Features(keys, as_vectors(table["image_emb"]), as_vectors(table["text_emb"]), metadata)
    _require_sound_pairs(path, features)
    return features


def write_image_features(path: Path, features: ImageFeatures) -> None:
    """Writes the columns key and image_emb (fixed_size_list<float32>[D]).

    ContractError if keys repeat or a row does not have norm 1.
    """
    _require_sound_images(path, features)
    columns = [pa.array(features.keys, pa.string()), as_column(features.image_ND)]
    schema = _image_schema(features.image_ND.shape[1])
    write_table(path, pa.Table.from_arrays(columns, schema=schema), features.metadata)


def read_image_features(path: Path) -> ImageFeatures:
    """Returns the features of the images. ContractError if the file is missing or invalid."""
    table, metadata = read_vectors(path, "image_emb", _image_schema, STAGE)
    features = ImageFeatures(tuple(table["key"].to_pylist()), as_vectors(table["image_emb"]), metadata)
    _require_sound_images(path, features)
    return features


def write_text_features(path: Path, features: TextFeatures) -> None:
    """Writes the columns text, tokens (list<int64>) and text_emb (fixed_size_list<float32>[D]).

    ContractError if a text is missing, tokens are not int64 or a row does not have norm 1.
    """
    _require_sound_texts(path, features)
    tokens = pa.array(features.tokens_PL.tolist(), pa.list_(pa.int64()))
    columns = [pa.array(features.texts, pa.string()), tokens, as_column(features.text_PD)]
    schema = _text_schema(features.text_PD.shape[1])
    write_table(path, pa.Table.from_arrays(columns, schema=schema), features.metadata)


def read_text_features(path: Path) -> TextFeatures:
    """Returns the features of the texts. ContractError if the file is missing or invalid."""
    table, metadata = read_vectors(path, "text_emb", _text_schema, STAGE)
    tokens_PL = _as_tokens(path, table["tokens"])
    features = TextFeatures(tuple(table["text"].to_pylist()), tokens_PL, as_vectors(table["text_emb"]), metadata)
    _require_sound_texts(path, features)
    return features


def _pair_schema(size: int) -> pa.Schema:
    return pa.schema([("key", pa.string()), ("image_emb", vector_type(size)), ("text_emb", vector_type(size))])


def _image_schema(size: int) -> pa.Schema:
    return pa.schema([("key", pa.string()), ("image_emb", vector_type(size))])


def _text_schema(size: int) -> pa.Schema:
    return pa.schema([("text", pa.string()), ("tokens", pa.list_(pa.int64())), ("text_emb", vector_type(size))])


def _as_tokens(path: Path, column: pa.ChunkedArray) -> Tokens:
    """Returns int64 [P, L]. An empty token makes the array float64, which _require_sound_texts rejects."""
    lengths = pc.list_value_length(column).unique().to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise broken(path, f"tokens should be rows of one length, there are rows of {lengths or 'no'} tokens", STAGE)
    flat: Tokens = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, lengths[0])


def _require_sound_pairs(path: Path, features: Features) -> None:
    _require_unique_keys(path, features.keys)
    sizes = [values_MD.shape[-1] for values_MD in (features.image_MD, features.text_MD)]
    if sizes[0] != sizes[1]:
        raise broken(path, f"image_emb and text_emb should be of one size, they are {sizes[0]} and {sizes[1]}", STAGE)
    require_unit_rows(path, "image_emb", features.image_MD, features.keys, STAGE)
    require_unit_rows(path, "text_emb", features.text_MD, features.keys, STAGE)


def _require_sound_images(path: Path, features: ImageFeatures) -> None:
    _require_unique_keys(path, features.keys)
    require_unit_rows(path, "image_emb", features.image_ND, features.keys, STAGE)


def _require_sound_texts(path: Path, features: TextFeatures) -> None:
    _require_names(path, "text", features.texts)
    count, tokens_PL = len(features.texts), features.tokens_PL
    if tokens_PL.dtype != np.int64 or tokens_PL.ndim != 2 or len(tokens_PL) != count:
        found = f"{tokens_PL.dtype} {tokens_PL.shape}"
        raise broken(path, f"tokens should be int64 [{count}, L], they are {found}", STAGE)
    require_unit_rows(path, "text_emb", features.text_PD, features.texts, STAGE)


def _require_unique_keys(path: Path, keys: Sequence[str]) -> None:
    _require_names(path, "key", keys)
    different = len(set(keys))
    if different != len(keys):
        raise broken(path, f"keys should be unique, but {len(keys)} rows have {different} different keys", STAGE)


def _require_names(path: Path, column: str, names: Sequence[str | None]) -> None:
    if not names or None in names:
        raise broken(path, f"there should be rows, each with a {column}; {len(names)} rows", STAGE)
