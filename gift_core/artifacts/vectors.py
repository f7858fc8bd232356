"""Parquet columns of unit vectors, one a row.  N rows, D numbers a vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gift_core.artifacts.atomic import broken
from gift_core.artifacts.tables import read_table, require_schema

UNIT_TOLERANCE = 1e-3  # bfloat16 autocast leaves norms within 4e-4 of 1 after normalising in float32
Floats = npt.NDArray[np.float32]


def vector_type(size: int) -> pa.DataType:
    """The type of a column of vectors: fixed_size_list<float32>[D]."""
    return pa.list_(pa.float32(), size)


def as_column(values_ND: Floats) -> pa.Array:
    """The rows of `values_ND` as such a column."""
    flat = pa.array(np.ascontiguousarray(values_ND).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, values_ND.shape[1])


def as_vectors(column: pa.ChunkedArray) -> Floats:
    """float32 [N, D] of such a column; an empty cell leaves a row less, or a NaN."""
    flat: Floats = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)


def read_vectors(
    path: Path, column: str, schema: Callable[[int], pa.Schema], stage: str
) -> tuple[pa.Table, dict[str, str]]:
    """Returns (table, metadata) of a file whose columns are schema(D), D as found in the vectors of `column`.

    ContractError where the file is missing or damaged or has other columns; `stage` makes it again.
    """
    table, metadata = read_table(path, None, stage)
    kind = table.schema.field(column).type if column in table.schema.names else pa.null()
    size = kind.list_size if pa.types.is_fixed_size_list(kind) else 1
    require_schema(path, table.schema, schema(size), stage)
    return table, metadata


def require_unit_rows(path: Path, column: str, values_ND: Floats, names: Sequence[str], stage: str) -> None:
    """Raises ContractError unless `values_ND` is float32 [N, D] with rows of norm 1, one for each of the N `names`."""
    count = len(names)
    if values_ND.dtype != np.float32 or values_ND.ndim != 2 or len(values_ND) != count:
        found = f"{values_ND.dtype} {values_ND.shape}"
        raise broken(path, f"{column} should be float32 [{count}, D], it is {found}", stage)
    norms_N = np.linalg.norm(values_ND.astype(np.float64), axis=1)
    off = ~(np.abs(norms_N - 1) < UNIT_TOLERANCE)
    if off.any():
        row = int(np.argmax(off))
        what = f"rows of {column} should have norm 1; {int(off.sum())} have not, the first is {names[row]}"
        raise broken(path, f"{what} with {norms_N[row]:.4f}", stage)
