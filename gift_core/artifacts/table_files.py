"""Tables and lists that people write: CSV, TSV, Parquet and JSON lines as texts, and text files with an entry per line.

Every error names the file, the row and the column, and says what to do.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gift_core.errors import UserError, did_you_mean, lookup
from gift_core.untrusted import parse_json

SEPARATORS = ",;\t"
TEXT = re.compile(r"(large_)?string|dictionary<values=(large_)?string.*")  # types of columns, as pyarrow spells them
_SHOWN = 80  # letters of a wrong value in an error


@dataclass(frozen=True)
class TableSchema:
    """The columns that a table may have. Any other column is ignored.

    `keys`: {column: the key of params.yaml that names it}. `may_be_empty`: columns whose cells may be empty.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    may_be_empty: Collection[str] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (*self.required, *self.optional)


@dataclass(frozen=True)
class Row:
    """A row of a table. `position` is "line 4" in a text file, whose header is line 1, and "row 3" in Parquet."""

    position: str
    cells: Mapping[str, str]


def read_table_file(path: Path, schema: TableSchema, *, location: str = "") -> tuple[tuple[str, ...], list[Row]]:
    """Returns the names of all columns, and the rows. Cells are texts without spaces around them.

    3 and 3.0 of Parquet become "3", missing values "".

    CSV may be separated by commas, semicolons or tabs, whichever the header has most. Blank lines are skipped.
    `location` begins the error messages; it is the key of params.yaml that names the file.

    Raises:
        UserError: the file is unreadable, a required column is missing, a column is a duplicate, a row has more or
            fewer cells than the header, or a cell is empty that should not be.
    """
    prefix = _prefix(path, location)
    with _table_errors(path, prefix):
        header, records = _reader(path)(path, schema.columns)
        known = [name for name in header if name in schema.columns]
        rows = [_row(position, record, known) for position, record in records]
    for name in schema.required:
        if name not in header:
            at = _prefix(path, schema.keys.get(name, location))
            raise UserError(f"{at}: column {name!r} is missing. {did_you_mean(name, header)}")
    for name in schema.columns:
        if header.count(name) > 1:
            raise UserError(f"{prefix}: column {name!r} is a duplicate. Keep one of them.")
    for row in rows:
        for column, value in row.cells.items():
            if not value and column not in schema.may_be_empty:
                raise empty_cell(path, row, column, location=location)
    return tuple(header), rows


def fitting_columns(path: Path, fits: Callable[[str], object], *, location: str) -> list[str]:
    """Returns the columns that have text, and no text that does not fit. Missing and empty cells do not count.

    UserError for an unreadable file, as read_table_file.
    """
    with _table_errors(path, _prefix(path, location)):
        header, records = _reader(path)(path, None)
    fitting = []
    for name in header:
        texts = {str(record.get(name) or "").strip() for _, record in records} - {""}
        if texts and all(map(fits, texts)):
            fitting.append(name)
    return fitting


def _reader(path: Path) -> Reader:
    return lookup(READERS, path.suffix.lower(), "kind of table")


@contextmanager
def _table_errors(path: Path, prefix: str) -> Iterator[None]:
    """Turns what the readers raise in the block into a UserError that begins with `prefix`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}: {error}") from None
    except Exception as error:  # csv and pyarrow have types of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        problem = f"cannot be read as {path.suffix.lower()} ({reason})"
        raise UserError(f"{prefix}: {problem}. Save it again, text as UTF-8.") from None


def empty_cell(path: Path, row: Row, column: str, *, location: str = "") -> UserError:
    """Returns the error for a cell that should not be empty."""
    where = f"{_prefix(path, location)}: {row.position}, column {column}"
    return UserError(f"{where}: is empty. Fill it in, or remove the row.")


def text_lines(path: Path, location: str) -> list[str]:
    """Returns the lines of a UTF-8 text file without spaces around them. Empty lines and comments (#) are skipped.

    UserError, beginning with `location`, for a file that cannot be read.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{location}: {path} cannot be read ({error}). There should be a UTF-8 text file.") from None
    return [line for line in lines if line and not line.startswith("#")]


def distinct_lines(path: Path, location: str, *, noun: str) -> tuple[str, ...]:
    """Returns the distinct lines in their order. UserError if there are none: `noun` says what a line is."""
    entries = tuple(dict.fromkeys(text_lines(path, location)))
    if entries:
        return entries
    raise UserError(f"{location}: {path} has no {noun}. Write one per line.")


def _prefix(path: Path, location: str) -> str:
    return f"{location}: {path}" if location else str(path)


Records = list[tuple[str, Mapping[str, Any]]]  # the position of each row, and what is in it by column
# (file, the columns that are wanted; None: all that have text) -> its columns, and the rows
Reader = Callable[[Path, Collection[str] | None], tuple[list[str], Records]]


def _read_csv(path: Path, wanted: Collection[str] | None) -> tuple[list[str], Records]:
    """Blank lines are skipped. A quoted cell may contain line breaks."""
    text = path.read_bytes().decode("utf-8-sig")
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    header = list[str]()
    records = Records()
    end = 0
    for cells in reader:
        start, end = end + 1, reader.line_num  # a record may have several lines
        texts = [cell.strip() for cell in cells]
        if not any(texts) and len(texts) <= 1:
            continue
        if not header:
            header = texts
        elif len(texts) != len(header):
            problem = f"line {start}: {len(texts)} values, but the header has {len(header)}"
            remedy = f"Put texts that contain {separator!r} in quotes, and write numbers with a point"
            raise UserError(f"{problem}. {remedy}.")
        else:
            records.append((f"line {start}", dict(zip(header, texts, strict=True))))
    return header, records


def _read_json_lines(path: Path, wanted: Collection[str] | None) -> tuple[list[str], Records]:
    records = Records()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                records.append((f"line {number}", parse_json(line)))
                if not isinstance(records[-1][1], dict):
                    raise ValueError(f"it is {line.strip()[:_SHOWN]}")
            except ValueError as error:
                reason = str(error).replace("line 1 column", "column")
                raise UserError(f"line {number}: should be an object ({reason}). Write {{column: value}}.") from None
    return list(dict.fromkeys(name for _, record in records for name in record)), records


def _read_parquet(path: Path, wanted: Collection[str] | None) -> tuple[list[str], Records]:
    """Reads the wanted columns alone, which may be those that pandas would make the index."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    header = [str(name) for name in file.schema_arrow.names]
    if wanted is None:
        wanted = [field.name for field in file.schema_arrow if TEXT.fullmatch(str(field.type))]
    records = file.read(columns=[name for name in header if name in wanted]).to_pylist()
    return header, [(f"row {number}", record) for number, record in enumerate(records, 1)]


def _row(position: str, record: Mapping[str, Any], columns: Collection[str]) -> Row:
    """A whole number has no ".0", because pandas stores it as a float in a column with missing values."""
    cells = {}
    for name in columns:
        value = record.get(name)
        if isinstance(value, list | dict | bytes):
            problem = f"{position}, column {name}: should be a text or a number, it is {ascii(value)[:_SHOWN]}"
            raise UserError(f"{problem}. Correct it.")
        if value is None or (isinstance(value, float) and math.isnan(value)):
            value = ""
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        cells[name] = str(value).strip()
    return Row(position, cells)


READERS: Mapping[str, Reader] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
