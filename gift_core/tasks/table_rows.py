"""The rows of a CSV or Parquet file as texts, each with its place for messages."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.errors import UserError, did_you_mean

SEPARATORS = ",;\t"
SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Row:
    """One row: where it stands ("line 4" of a CSV file, "row 3" of Parquet), and its cells as texts without margins."""

    where: str
    cells: Mapping[str, str]


def read_rows(path: Path, columns: Mapping[str, str], place: str) -> Iterator[Row]:
    """Yields the table's rows; numbers become their digits, empty cells "".

    `columns` are those that must be there: {the key of params.yaml that names it: its name}; `place` is the row of the
    task. UserError for an unreadable file, a missing column (with the nearest name) or a line of too many cells.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, columns, place)
    return _read_csv(path, columns, place)


def _read_csv(path: Path, columns: Mapping[str, str], place: str) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(SEPARATORS, key=header.count), strict=True)
            _require_columns(reader.fieldnames or [], columns, place)
            for cells in reader:
                if None in cells:
                    what = f"line {reader.line_num} has more cells than the first line has columns"
                    raise UserError(f"{place}.table: {path.name}: {what}. Put texts with separators in quotes.")
                yield Row(f"line {reader.line_num}", {name: (cell or "").strip() for name, cell in cells.items()})
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{place}.table: {path.name}: cannot be read ({error}). Save it as CSV in UTF-8.") from None


def _read_parquet(path: Path, columns: Mapping[str, str], place: str) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        _require_columns(parquet.read_schema(path).names, columns, place)
        table = parquet.read_table(path, columns=list(columns.values()))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{place}.table: {path.name}: cannot be read as Parquet ({reason}). Write it again.") from None
    for number, cells in enumerate(table.to_pylist(), 1):
        yield Row(f"row {number}", {name: _text(cell) for name, cell in cells.items()})


def _require_columns(found: Sequence[str], columns: Mapping[str, str], place: str) -> None:
    for key, name in columns.items():
        if name not in found:
            raise UserError(f"{place}.{key}: the table has no column {name!r}. {did_you_mean(name, found)}")
        if list(found).count(name) > 1:
            raise UserError(f"{place}.{key}: the table has more than one column {name!r}. Rename the others.")


def _text(cell: Any) -> str:
    """A number that a table holds as 3.0, because other rows are empty, is 3."""
    if cell is None or cell != cell:  # NaN
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()
