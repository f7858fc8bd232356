"""Parquet files: the same table always gives the same bytes, and reading checks the whole file and the columns.

Pages have the checksums of the Parquet standard. The rest that can change what is read without an error, the number of
rows and the metadata, has a hash of its own among the metadata. A schema is checked against the expected one.

N rows, D numbers in a vector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gift_core.artifacts.contract import broken, require_file
from gift_core.work.publishing import write_atomically

SEAL = "sha256"  # the key of that hash
UNIT_TOLERANCE = 1e-3  # bfloat16 autocast leaves norms within 4e-4 of 1 after normalizing in float32
Floats = npt.NDArray[np.float32]


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str], *, counted: Collection[str] = ()) -> None:
    """Writes the table with `metadata` in its schema, zstd-compressed.

    Columns of increasing whole numbers in `counted` are stored as differences, which take almost no space.
    """
    notes = {name: metadata[name] for name in sorted(metadata)}
    sealed = table.replace_schema_metadata({**notes, SEAL: _seal(table, notes)})
    encoding: dict[str, Any] = {}
    if counted:
        encoding["use_dictionary"] = [name for name in table.column_names if name not in counted]
        encoding["column_encoding"] = dict.fromkeys(counted, "DELTA_BINARY_PACKED")
    with write_atomically(path) as temporary:
        pq.write_table(sealed, temporary, compression="zstd", version="2.6", write_page_checksum=True, **encoding)


def read_table(path: Path, schema: pa.Schema | None, stage: str) -> tuple[pa.Table, dict[str, str]]:
    """Returns (table, metadata). ContractError if the file is missing, damaged or has other columns than the schema.

    `stage` is the one that makes the file again. Without a schema the caller checks the columns.
    """
    require_file(path, stage)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)
        notes = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise broken(path, f"it should be a whole Parquet file, but {error}", stage) from error
    if schema is not None:
        require_schema(path, table.schema, schema, stage)
    if notes.pop(SEAL, None) != _seal(table, notes):
        raise broken(path, "its rows or metadata are not those that were written", stage)
    return table, notes


def _seal(table: pa.Table, notes: Mapping[str, str]) -> str:
    described = [table.num_rows, sorted(notes.items())]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def require_schema(path: Path, found: pa.Schema, expected: pa.Schema, stage: str) -> None:
    """Raises ContractError if a column is missing, unknown or has another type."""
    missing = [name for name in expected.names if name not in found.names]
    unknown = [name for name in found.names if name not in expected.names]
    if missing or unknown:
        both = [f"{name} is missing" for name in missing] + [f"{name} is unknown" for name in unknown]
        raise broken(path, f"its columns should be {', '.join(expected.names)}; {', '.join(both)}", stage)
    for field in expected:
        if found.field(field.name).type != field.type:
            kind = found.field(field.name).type
            raise broken(path, f"column {field.name} should be {field.type}, it is {kind}", stage)


def vector_type(size: int) -> pa.DataType:
    """Returns the type of a column of vectors: fixed_size_list<float32>[D]."""
    return pa.list_(pa.float32(), size)


def as_column(values_ND: Floats) -> pa.Array:
    """Returns the rows of `values_ND` as a column of vectors."""
    flat = pa.array(np.ascontiguousarray(values_ND).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, values_ND.shape[1])


def as_vectors(column: pa.ChunkedArray) -> Floats:
    """Returns a column of vectors as float32 [N, D]. An empty cell leaves out a row or gives NaN."""
    flat: Floats = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)


def read_vectors(
    path: Path, column: str, schema: Callable[[int], pa.Schema], stage: str
) -> tuple[pa.Table, dict[str, str]]:
    """Returns (table, metadata) of a file with the columns schema(D), where D is the vector size found in `column`.

    ContractError if the file is missing, damaged or has other columns. `stage` makes it again.
    """
    table, metadata = read_table(path, None, stage)
    kind = table.schema.field(column).type if column in table.schema.names else pa.null()
    size = kind.list_size if pa.types.is_fixed_size_list(kind) else 1
    require_schema(path, table.schema, schema(size), stage)
    return table, metadata


def require_unit_rows(path: Path, column: str, values_ND: Floats, names: Sequence[str], stage: str) -> None:
    """Raises ContractError unless `values_ND` is float32 [N, D] with rows of norm 1, one for each name."""
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
