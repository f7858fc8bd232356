"""A user's captions: a table of captions for class names, or a text file of captions that stand for themselves."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gift_core.errors import UserError, did_you_mean, lookup
from gift_core.tasks.lines import read_lines

PLACE = "params.yaml: prompts.captions"
COLUMNS = ("class_name", "caption")
Row = Mapping[str, object]


@dataclass(frozen=True)
class Captions:
    """`by_class`: what may be said of a class, in the file's order; `general`: what is said of no class."""

    by_class: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    general: tuple[str, ...] = ()

    def cover(self, class_name: str) -> bool:
        """Returns whether prompts of this class are worded by a caption."""
        return class_name in self.by_class or class_name in self.general


def read_captions(name: str | None) -> Captions:
    """Returns the captions of a file, none for null: CSV, Parquet or JSON lines with COLUMNS, or a text file.

    A text file has a general caption a line; lines that are empty or begin with # don't count. {} in a table's caption
    stands for the class name. UserError names the file and the row (the first is 1) where a column is missing or
    unknown, a cell is empty, or a caption comes twice.
    """
    if name is None:
        return Captions()
    path = Path(name)
    if not path.is_file():
        raise UserError(f"{PLACE}: there is no file {path}. Put it there, or choose another prompts.strategy.")
    if path.suffix.lower() in (".txt", ".text"):
        return Captions(general=read_lines(path, PLACE, noun="caption"))
    read = lookup(READERS, path.suffix.lower(), f"{PLACE}: {path}: kind of file (or .txt)")
    try:
        rows = list(read(path))
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise UserError(f"{PLACE}: {path} cannot be read ({error}). Save it again, text as UTF-8.") from None
    return Captions(by_class=_by_class(path, rows))


def _by_class(path: Path, rows: list[Row]) -> dict[str, tuple[str, ...]]:
    if not rows:
        raise UserError(f"{PLACE}: {path} holds no row. Write one a caption, with {' and '.join(COLUMNS)}.")
    captions: dict[str, dict[str, int]] = {}
    for number, row in enumerate(rows, 1):
        _require_columns(path, number, row)
        class_name, caption = (_text(path, number, column, row[column]) for column in COLUMNS)
        first = captions.setdefault(class_name, {}).setdefault(caption, number)
        if first != number:
            what = f"{caption!r} of {class_name!r} stands in row {first} too"
            raise UserError(f"{PLACE}: {path}: row {number}: {what}. Remove one, it would be drawn twice as often.")
    return {class_name: tuple(found) for class_name, found in captions.items()}


def _require_columns(path: Path, number: int, row: Row) -> None:
    place = f"{PLACE}: {path}: row {number}"
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        found = ", ".join(map(str, row)) or "none"
        raise UserError(f"{place}: column {missing[0]} is missing, there are: {found}. Name it {missing[0]}.")
    for column in row:
        if column not in COLUMNS:
            raise UserError(f"{place}: unknown column {column!r}. {did_you_mean(str(column), COLUMNS)} Remove it.")


def _text(path: Path, number: int, column: str, cell: object) -> str:
    if not isinstance(cell, str) or not cell.strip():
        what = f"no text ({cell!r})" if cell and not isinstance(cell, str) else "empty"
        remedy = "Fill it, or remove the row. Captions of no class go into a text file."
        raise UserError(f"{PLACE}: {path}: row {number}: {column} is {what}. {remedy}")
    return " ".join(cell.split())


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file, strict=True):
            if None in row:
                raise ValueError(f"a row has more cells than the header: {row[None]}; put texts with commas in quotes")
            yield row


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} should be an object, it is {row!r}")
            yield row


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    yield from pq.read_table(path).to_pylist()


READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
