"""A user's captions: a table of captions for class names, or a text file with captions that belong to no class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gift_core.artifacts.table_files import READERS, TableSchema, distinct_lines, read_table_file
from gift_core.datasets.spelling import plain_name
from gift_core.errors import UserError, lookup, nearest

LOCATION = "params.yaml: prompts.captions"
COLUMNS = TableSchema(required=("class_name", "caption"), refuse_others=True)


@dataclass(frozen=True)
class Captions:
    """`by_class`: {class name: its captions in the order of the file}. `general`: captions that belong to no class."""

    by_class: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    general: tuple[str, ...] = ()

    def cover(self, class_name: str) -> bool:
        """Returns whether prompts of this class are captions."""
        return class_name in self.by_class or class_name in self.general

    def unknown_classes(self, known: Collection[str]) -> tuple[str, ...]:
        """Returns the classes that have captions but are not `known`, each with the known class that it may mean."""
        hints = {name: nearest(name, known).strip() for name in self.by_class if name not in known}
        return tuple(f"{name!r} ({hint})" if hint else repr(name) for name, hint in hints.items())


def read_captions(name: str | None, root: Path = Path()) -> Captions:
    """Returns the captions of a file below `root`, no captions for None.

    A table (CSV, TSV, Parquet or JSON lines) has the columns class_name and caption; {} in a caption stands for the
    class name. A text file has one general caption per line; empty lines and lines that begin with # are skipped.
    UserError names the file and the row if a column is missing or unknown, a cell is empty, or a caption is a
    duplicate.
    """
    if name is None:
        return Captions()
    path = root / name
    if not path.is_file():
        raise UserError(f"{LOCATION}: there is no file {path}. Put it there, or choose another prompts.strategy.")
    if path.suffix.lower() in (".txt", ".text"):
        return Captions(general=distinct_lines(path, LOCATION, noun="caption"))
    return Captions(by_class=_read_by_class(path))


def _read_by_class(path: Path) -> dict[str, tuple[str, ...]]:
    lookup(READERS, path.suffix.lower(), f"{LOCATION}: {path}: kind of file (or .txt)")
    table = read_table_file(path, COLUMNS, location=LOCATION)
    if not table.rows:
        raise UserError(f"{LOCATION}: {path}: no rows. Write one row per caption.")
    captions: dict[str, dict[str, str]] = {}
    for row in table.rows:
        class_name, caption = (plain_name(row.cells[column]) for column in COLUMNS.columns)
        first = captions.setdefault(class_name, {}).setdefault(caption, row.position)
        if first != row.position:
            what = f"{caption!r} of {class_name!r} is also on {first}, so it would be sampled more often"
            raise UserError(f"{LOCATION}: {path}: {row.position}: {what}. Remove one.")
    return {class_name: tuple(found) for class_name, found in captions.items()}
