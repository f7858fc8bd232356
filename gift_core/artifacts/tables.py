"""Parquet artifacts: written the same way every time, read against a schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gift_core.artifacts.atomic import broken, require_file, write_atomically


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """Writes the table with `metadata` in its schema; no time stamps, so the same table gives the same bytes."""
    notes = {name: metadata[name] for name in sorted(metadata)}
    with write_atomically(path) as temporary:
        pq.write_table(table.replace_schema_metadata(notes), temporary, compression="zstd", version="2.6")


def read_table(path: Path, schema: pa.Schema | None, stage: str) -> tuple[pa.Table, dict[str, str]]:
    """Returns (table with exactly the schema's columns, metadata); ContractError for anything else.

    `stage` is the one that makes the file again. Without a schema the caller checks the columns.
    """
    require_file(path, stage)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise broken(path, f"it should be a Parquet file, but {error}", stage) from error
    if schema is not None:
        require_schema(path, table.schema, schema, stage)
    notes = table.schema.metadata or {}
    return table, {name.decode(): value.decode() for name, value in notes.items()}


def require_schema(path: Path, found: pa.Schema, expected: pa.Schema, stage: str) -> None:
    """Raises ContractError where a column is missing, unknown, or of another type."""
    missing = [name for name in expected.names if name not in found.names]
    unknown = [name for name in found.names if name not in expected.names]
    if missing or unknown:
        both = [f"{name} is missing" for name in missing] + [f"{name} is unknown" for name in unknown]
        raise broken(path, f"its columns should be {', '.join(expected.names)}; {', '.join(both)}", stage)
    for field in expected:
        if found.field(field.name).type != field.type:
            kind = found.field(field.name).type
            raise broken(path, f"column {field.name} should be {field.type}, it is {kind}", stage)
