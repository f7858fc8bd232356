"""What a teacher says of every synthetic pair: an image and a text feature a row. M pairs, D features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gift_core.artifacts.atomic import broken
from gift_core.artifacts.tables import read_table, require_schema, write_table

STAGE = "teach"
UNIT_TOLERANCE = 1e-3  # bfloat16 autocast leaves norms within 4e-4 of 1 after normalising in float32
Floats = npt.NDArray[np.float32]


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
    columns = [pa.array(features.keys, pa.string()), _as_lists(features.image_MD), _as_lists(features.text_MD)]
    write_table(path, pa.Table.from_arrays(columns, schema=_schema(image_MD.shape[1])), metadata)


def read_features(path: Path) -> Features:
    """Returns the features; ContractError where the file is missing, has other columns, or a row isn't unit norm."""
    table, metadata = read_table(path, None, STAGE)
    kind = table.schema.field("image_emb").type if "image_emb" in table.schema.names else pa.list_(pa.float32(), 1)
    require_schema(path, table.schema, _schema(kind.list_size if pa.types.is_fixed_size_list(kind) else 1), STAGE)
    keys = tuple(table["key"].to_pylist())
    features = Features(keys, _as_array(table["image_emb"]), _as_array(table["text_emb"]), metadata)
    _require_sound(path, features)
    return features


def _schema(size: int) -> pa.Schema:
    vector = pa.list_(pa.float32(), size)
    return pa.schema([("key", pa.string()), ("image_emb", vector), ("text_emb", vector)])


def _as_lists(values_MD: Floats) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values_MD).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, values_MD.shape[1])


def _as_array(column: pa.ChunkedArray) -> Floats:
    size = column.type.list_size
    flat: Floats = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, size)


def _require_sound(path: Path, features: Features) -> None:
    count = len(features.keys)
    if count == 0 or len(set(features.keys)) != count:
        raise broken(path, f"there should be keys, each once; {count} keys, {len(set(features.keys))} different", STAGE)
    sizes = [values_MD.shape[-1] for values_MD in (features.image_MD, features.text_MD)]
    if sizes[0] != sizes[1]:
        raise broken(path, f"image_emb and text_emb should be of one size, they are {sizes[0]} and {sizes[1]}", STAGE)
    for name, values_MD in (("image_emb", features.image_MD), ("text_emb", features.text_MD)):
        if values_MD.dtype != np.float32 or values_MD.ndim != 2 or len(values_MD) != count:
            found = f"{values_MD.dtype} {values_MD.shape}"
            raise broken(path, f"{name} should be float32 [{count}, D], it is {found}", STAGE)
        norms_M = np.linalg.norm(values_MD.astype(np.float64), axis=1)
        off = ~(np.abs(norms_M - 1) < UNIT_TOLERANCE)
        if off.any():
            row = int(np.argmax(off))
            what = f"rows of {name} should have norm 1; {int(off.sum())} have not, the first is {features.keys[row]}"
            raise broken(path, f"{what} with {norms_M[row]:.4f}", STAGE)
