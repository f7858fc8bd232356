"""Parquet files: the same table always gives the same bytes, and reading checks the whole file and the columns.

Pages have the checksums of the Parquet standard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gift_core.artifacts.contract import broken, require_file
from gift_core.work.publishing import write_atomically

SEAL = "sha256"  # among the metadata: a hash that nothing reads any more. Without it the files would have other bytes


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str], *, counted: Collection[str] = ()) -> None:
    """Writes the table with `metadata` in its schema, zstd-compressed.

    Columns of increasing whole numbers in `counted` are stored as differences, which take almost no space.
    """
    notes = {name: metadata[name] for name in sorted(metadata)}
    seal = hashlib.sha256(json.dumps([table.num_rows, list(notes.items())]).encode()).hexdigest()
    encoding: dict[str, Any] = {}
    if counted:
        encoding["use_dictionary"] = [name for name in table.column_names if name not in counted]
        encoding["column_encoding"] = dict.fromkeys(counted, "DELTA_BINARY_PACKED")
    sealed = table.replace_schema_metadata({**notes, SEAL: seal})
    with write_atomically(path) as temporary:
        pq.write_table(sealed, temporary, compression="zstd", version="2.6", write_page_checksum=True, **encoding)


def read_table(
    path: Path, schema: pa.Schema | Callable[[pa.Schema], pa.Schema], stage: str
) -> tuple[pa.Table, dict[str, str]]:
    """Returns (table, metadata). ContractError if the file is missing or damaged, or a cell is empty.

    Also if the columns are not those of `schema`, which may be a function of the schema that the file has. `stage` is
    the one that makes the file again.
    """
    require_file(path, stage)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)
        notes = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise broken(path, f"it should be a whole Parquet file, but {error}", stage) from error
    expected, found = schema(table.schema) if callable(schema) else schema, table.schema.remove_metadata()
    if found != expected or any(column.null_count for column in table.columns):
        wanted, there = (", ".join(f"{each.name} {each.type}" for each in columns) for columns in (expected, found))
        raise broken(path, f"its columns should be {wanted}, without empty cells, they are {there}", stage)
    notes.pop(SEAL, None)
    return table, notes
