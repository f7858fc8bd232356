"""A user's captions: a table with captions of classes, or a text file with general captions."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gift_core.errors import UserError, did_you_mean, lookup
from gift_core.tasks.lines import read_lines

KEY = "params.yaml: prompts.captions"
COLUMNS = ("class_name", "caption")
Row = Mapping[str, object]


@dataclass(frozen=True)
class Captions:
    """`by_class`: the captions of each class, in the order of the file. `general`: captions that belong to no class."""

    by_class: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    general: tuple[str, ...] = ()

    def cover(self, class_name: str) -> bool:
        """Returns whether the prompts of this class come from captions."""
        return class_name in self.by_class or class_name in self.general


def read_captions(name: str | None) -> Captions:
    """Returns the captions in a file: CSV, Parquet or JSON lines with COLUMNS, or a text file. None gives no captions.

    A text file has one general caption per line; empty lines and lines that start with # are ignored. In a table, {} in
    a caption stands for the class name. UserError, with the file and the row (counted from 1), where a column is
    missing or unknown, a field is empty, or a caption is repeated.
    """
    if name is None:
        return Captions()
    path = Path(name)
    if not path.is_file():
        raise UserError(f"{KEY}: {path} does not exist. Create it, or set another prompts.strategy.")
    if path.suffix.lower() in (".txt", ".text"):
        return Captions(general=read_lines(path, KEY, noun="caption"))
    read = lookup(READERS, path.suffix.lower(), f"{KEY}: {path}: kind of file (or .txt)")
    try:
        rows = list(read(path))
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise UserError(f"{KEY}: {path} cannot be read ({error}). Save it again, with UTF-8 text.") from None
    return Captions(by_class=_by_class(path, rows))


def _by_class(path: Path, rows: list[Row]) -> dict[str, tuple[str, ...]]:
    if not rows:
        raise UserError(
            f"{KEY}: {path} has no rows. Write one row per caption, with the columns {' and '.join(COLUMNS)}."
        )
    captions: dict[str, dict[str, int]] = {}
    for number, row in enumerate(rows, 1):
        _require_columns(path, number, row)
        class_name, caption = (_text(path, number, column, row[column]) for column in COLUMNS)
        first = captions.setdefault(class_name, {}).setdefault(caption, number)
        if first != number:
            what = f"the caption {caption!r} of {class_name!r} is in row {first} too"
            raise UserError(
                f"{KEY}: {path}: row {number}: {what}. Remove one of them: it would be sampled twice as often."
            )
    return {class_name: tuple(found) for class_name, found in captions.items()}


def _require_columns(path: Path, number: int, row: Row) -> None:
    key = f"{KEY}: {path}: row {number}"
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        found = ", ".join(map(str, row)) or "none"
        raise UserError(f"{key}: column {missing[0]} is missing. The columns are: {found}. Rename one to {missing[0]}.")
    for column in row:
        if column not in COLUMNS:
            raise UserError(f"{key}: unknown column {column!r}. {did_you_mean(str(column), COLUMNS)} Remove it.")


def _text(path: Path, number: int, column: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        what = f"not text ({value!r})" if value and not isinstance(value, str) else "empty"
        remedy = "Fill it in or remove the row. General captions belong in a text file."
        raise UserError(f"{KEY}: {path}: row {number}: {column} is {what}. {remedy}")
    return " ".join(value.split())


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file, strict=True):
            if None in row:
                raise ValueError(f"a row has more fields than the header: {row[None]}. Put texts with commas in quotes")
            yield row


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} must be an object, but is {row!r}")
            yield row


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    yield from pq.read_table(path).to_pylist()


READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
