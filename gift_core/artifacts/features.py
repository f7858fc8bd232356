"""What a teacher says of every synthetic pair: an image and a text feature a row. M pairs, D features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from gift_core.artifacts.atomic import broken
from gift_core.artifacts.tables import write_table
from gift_core.artifacts.vectors import Floats, as_column, as_vectors, read_vectors, require_unit_rows, vector_type

STAGE = "teach"
FEATURES = "features.parquet"


@dataclass(frozen=True)
class Features:
    """Unit-norm float32 features image_MD and text_MD, rows in the order of `keys`."""

    keys: tuple[str, ...]
    image_MD: Floats
    text_MD: Floats
    metadata: Mapping[str, str]


def write_features(
    path: Path, keys: Sequence[str], image_MD: Floats, text_MD: Floats, metadata: Mapping[str, str]
) -> None:
    """Writes features.parquet (key, image_emb, text_emb as fixed_size_list<float32>[D]); ContractError if unsound."""
    features = Features(tuple(keys), np.asarray(image_MD), np.asarray(text_MD), metadata)
    _require_sound(path, features)
    columns = [pa.array(features.keys, pa.string()), as_column(features.image_MD), as_column(features.text_MD)]
    write_table(path, pa.Table.from_arrays(columns, schema=_schema(image_MD.shape[1])), metadata)


def read_features(path: Path) -> Features:
    """Returns the features; ContractError where the file is missing, has other columns, or a row isn't unit norm."""
    table, metadata = read_vectors(path, "image_emb", _schema, STAGE)
    keys = tuple(table["key"].to_pylist())
    features = Features(keys, as_vectors(table["image_emb"]), as_vectors(table["text_emb"]), metadata)
    _require_sound(path, features)
    return features


def _schema(size: int) -> pa.Schema:
    return pa.schema([("key", pa.string()), ("image_emb", vector_type(size)), ("text_emb", vector_type(size))])


def _require_sound(path: Path, features: Features) -> None:
    count = len(features.keys)
    if count == 0 or len(set(features.keys)) != count:
        raise broken(path, f"there should be keys, each once; {count} keys, {len(set(features.keys))} different", STAGE)
    sizes = [values_MD.shape[-1] for values_MD in (features.image_MD, features.text_MD)]
    if sizes[0] != sizes[1]:
        raise broken(path, f"image_emb and text_emb should be of one size, they are {sizes[0]} and {sizes[1]}", STAGE)
    require_unit_rows(path, "image_emb", features.image_MD, features.keys, STAGE)
    require_unit_rows(path, "text_emb", features.text_MD, features.keys, STAGE)
