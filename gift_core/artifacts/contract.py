"""What all artifacts share: hashes, JSON files, Parquet files, and the error for a bad file.

A reader checks the whole file, a writer does not. The same content always gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gift_core.errors import ContractError
from gift_core.work.publishing import write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

A = TypeVar("A")
READ_BYTES = 1 << 20
SHOWN = 60  # characters of a wrong value
SEAL = "sha256"  # among the metadata: a hash that nothing reads any more. Without it the files would have other bytes


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of the file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def broken(path: Path, expectation: str, stage: str) -> ContractError:
    """Returns the error for a bad artifact: the file, what was expected and found, the stage that makes it again."""
    return ContractError(f"{path}: {expectation}. Recreate it with: dvc repro {stage}")


def require_file(path: Path, stage: str) -> None:
    """Raises ContractError if the file is missing."""
    if not path.is_file():
        raise broken(path, "the file is missing. If it was shared: gift get", stage)


def require_hashes(folder: Path, hashes: Mapping[str, str], stage: str) -> None:
    """Raises ContractError if a file is missing or has another SHA-256 than was noted: {name in the folder: hash}."""
    for name, expected in hashes.items():
        require_file(folder / name, stage)
        digest = sha256_of(folder / name)
        if digest != expected:
            problem = f"its sha256 should be {expected[:12]}..., it is {digest[:12]}...: the file was changed"
            raise broken(folder / name, problem, stage)


def read(kind: type[A], path: Path, stage: str) -> A:
    """Returns the content of a JSON file. `kind`: a pydantic model, a dataclass or a type of plain values.

    ContractError if the file is missing or has another content. `stage` makes it again.
    """
    require_file(path, stage)
    return parse(kind, path.read_bytes(), path, stage)


def parse(kind: type[A], content: bytes | str, path: Path, stage: str) -> A:
    """Returns the content of a JSON file, as `read` does. ContractError names `path`."""
    try:
        return TypeAdapter(kind).validate_json(content, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        problem = fault["msg"].removeprefix("Value error, ").rstrip(".")
        if fault["type"] != "json_invalid":
            key, value = ".".join(map(str, fault["loc"])), ascii(fault["input"])
            shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
            problem = ": ".join(filter(None, (key, f"{problem}; found {shown}")))
        raise broken(path, problem, stage) from error


def write_json(path: Path, value: Any) -> None:
    """Writes `value` indented, keys in the order given, one newline at the end. ValueError for NaN and infinities."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with write_atomically(path) as temporary:
        temporary.write_bytes(f"{text}\n".encode())


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str], *, counted: Collection[str] = ()) -> None:
    """Writes the table with `metadata` in its schema, zstd-compressed.

    Columns of increasing whole numbers in `counted` are stored as differences, which take almost no space. Pages have
    the checksums of the Parquet standard.
    """
    import pyarrow.parquet as pq

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
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(path, stage)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)
        notes = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise broken(path, f"it should be a whole Parquet file, but {error}", stage) from error
    expected = schema(table.schema) if callable(schema) else schema
    stored = table.schema.remove_metadata()
    if stored != expected or any(column.null_count for column in table.columns):
        problem = f"its columns should be {_listed(expected)}, without empty cells, they are {_listed(stored)}"
        raise broken(path, problem, stage)
    notes.pop(SEAL, None)
    return table, notes


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in schema)
