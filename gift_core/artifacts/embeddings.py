"""What a teacher says of N images and of P texts that are not pairs: two files.  L tokens, D features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gift_core.artifacts.atomic import broken
from gift_core.artifacts.tables import write_table
from gift_core.artifacts.vectors import Floats, as_column, as_vectors, read_vectors, require_unit_rows, vector_type

STAGE = "teach"
IMAGE_FEATURES = "image_features.parquet"
TEXT_FEATURES = "text_features.parquet"
Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ImageFeatures:
    """Unit-norm float32 features image_ND, rows in the order of `keys`, each key once."""

    keys: tuple[str, ...]
    image_ND: Floats
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class TextFeatures:
    """Unit-norm float32 features text_PD of the token rows tokens_PL, int64.

    `texts` says what a row was made of. Two texts may have the same tokens (tokenizers fold case).
    """

    texts: tuple[str, ...]
    tokens_PL: Tokens
    text_PD: Floats
    metadata: Mapping[str, str]


def write_image_features(path: Path, features: ImageFeatures) -> None:
    """Writes image_features.parquet (key, image_emb as fixed_size_list<float32>[D]); ContractError if unsound."""
    _require_sound_images(path, features)
    columns = [pa.array(features.keys, pa.string()), as_column(features.image_ND)]
    schema = _image_schema(features.image_ND.shape[1])
    write_table(path, pa.Table.from_arrays(columns, schema=schema), features.metadata)


def read_image_features(path: Path) -> ImageFeatures:
    """Returns the features; ContractError where the file is missing or breaks the contract."""
    table, metadata = read_vectors(path, "image_emb", _image_schema, STAGE)
    features = ImageFeatures(tuple(table["key"].to_pylist()), as_vectors(table["image_emb"]), metadata)
    _require_sound_images(path, features)
    return features


def write_text_features(path: Path, features: TextFeatures) -> None:
    """Writes text_features.parquet (text, tokens as list<int64>, text_emb as fixed_size_list<float32>[D]).

    ContractError if unsound.
    """
    _require_sound_texts(path, features)
    tokens = pa.array(features.tokens_PL.tolist(), pa.list_(pa.int64()))
    columns = [pa.array(features.texts, pa.string()), tokens, as_column(features.text_PD)]
    schema = _text_schema(features.text_PD.shape[1])
    write_table(path, pa.Table.from_arrays(columns, schema=schema), features.metadata)


def read_text_features(path: Path) -> TextFeatures:
    """Returns the features; ContractError where the file is missing or breaks the contract."""
    table, metadata = read_vectors(path, "text_emb", _text_schema, STAGE)
    tokens_PL = _as_tokens(path, table["tokens"])
    features = TextFeatures(tuple(table["text"].to_pylist()), tokens_PL, as_vectors(table["text_emb"]), metadata)
    _require_sound_texts(path, features)
    return features


def _image_schema(size: int) -> pa.Schema:
    return pa.schema([("key", pa.string()), ("image_emb", vector_type(size))])


def _text_schema(size: int) -> pa.Schema:
    return pa.schema([("text", pa.string()), ("tokens", pa.list_(pa.int64())), ("text_emb", vector_type(size))])


def _as_tokens(path: Path, column: pa.ChunkedArray) -> Tokens:
    """int64 [P, L] of the column; an empty token makes it float64, which _require_sound_texts refuses."""
    lengths = pc.list_value_length(column).unique().to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise broken(path, f"tokens should be rows of one length, there are rows of {lengths or 'no'} tokens", STAGE)
    flat: Tokens = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, lengths[0])


def _require_sound_images(path: Path, features: ImageFeatures) -> None:
    _require_names(path, "key", features.keys)
    different = len(set(features.keys))
    if different != len(features.keys):
        raise broken(path, f"each key should come once; {len(features.keys)} keys, {different} different", STAGE)
    require_unit_rows(path, "image_emb", features.image_ND, features.keys, STAGE)


def _require_sound_texts(path: Path, features: TextFeatures) -> None:
    _require_names(path, "text", features.texts)
    count, tokens_PL = len(features.texts), features.tokens_PL
    if tokens_PL.dtype != np.int64 or tokens_PL.ndim != 2 or len(tokens_PL) != count:
        found = f"{tokens_PL.dtype} {tokens_PL.shape}"
        raise broken(path, f"tokens should be int64 [{count}, L], they are {found}", STAGE)
    require_unit_rows(path, "text_emb", features.text_PD, features.texts, STAGE)


def _require_names(path: Path, column: str, names: Sequence[str | None]) -> None:
    if not names or None in names:
        raise broken(path, f"there should be rows, each with a {column}; {len(names)} rows", STAGE)
