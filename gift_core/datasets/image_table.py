"""A table of image files and labels with one row per image: CSV, TSV or Parquet."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gift_core.artifacts.table_files import READERS, Row, TableSchema, empty_cell, read_table_file
from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import PairsTaskConfig, TableTaskConfig, is_inside
from gift_core.datasets.dataset import (
    NAMED,
    VALIDATION,
    Listing,
    Sample,
    nearest_name,
    validation_note,
)
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import HIDDEN, NO_IMAGE, LeftOut, is_in_hidden
from gift_core.datasets.spelling import KNOWN_SPLITS, MAX_NAME, plain_name, printable, split_of
from gift_core.errors import UserError, did_you_mean
from gift_core.quantities import first_names, plural

Config = TableTaskConfig | PairsTaskConfig


@dataclass(frozen=True)
class Entry:
    """A row of the table: its position, the file relative to the task's path, its label or caption, and its split."""

    position: str
    file: str
    label: str
    split: str


def list_table(name: str, config: TableTaskConfig, root: Path) -> Listing:
    """Returns the images of the table in the order of its rows.

    The notes count the rows of a validation split, and the files of the folder that are in no row. UserError for a
    missing table, column or image file (each with the nearest name), an empty cell, a duplicate file, an unknown split,
    a split column without train or test, and a column of splits that the row does not mention.
    """
    key = f"params.yaml: tasks.{name}"
    folder, location = root / config.path, f"{key}.table: {config.table}"
    entries = list(read_entries(folder, config, key))
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.split != VALIDATION and (first := seen.setdefault(entry.file, entry.position)) != entry.position:
            what = f"{entry.file} is on {first} and on {entry.position}"
            raise UserError(f"{location}: {what}. Remove one: an image has one label and belongs to one split.")
    for split in SPLITS if config.split_column is not None else ():
        if all(entry.split != split for entry in entries):
            what = f"no row has {split} in column {config.split_column!r}"
            raise UserError(f"{location}: {what}. Write train and test there, or split_column: null to split by seed.")
    return listing_of(entries, folder, config, location)


def listing_of(entries: Sequence[Entry], folder: Path, config: Config, location: str) -> Listing:
    """Returns the images of the rows, those of a validation split as far as they are in the folder."""
    unused = _unused_splits(folder, config, location)
    images = [entry for entry in entries if entry.split != VALIDATION]
    _require_files(images, folder, location)
    held_out = [
        entry
        for entry in entries
        if entry.split == VALIDATION and is_inside(entry.file) and entry.label and _is_file(folder / entry.file)
    ]
    samples = [
        Sample(each.label, printable(each.file), (path := folder / each.file).stat().st_size, path, split=each.split)
        for each in [*images, *held_out]
    ]
    validation = validation_note(f"val in column {config.split_column!r}", len(entries) - len(images))
    used = {entry.file for entry in entries} | {str(config.table), str(getattr(config, "class_names", None))}
    return Listing(samples, location, (*unused, *validation), _unlisted(folder, used))


def read_entries(folder: Path, config: Config, key: str) -> Iterator[Entry]:
    """Yields the rows of all splits."""
    table, image = str(config.table), str(config.image_column)
    text_key = "caption_column" if isinstance(config, PairsTaskConfig) else "label_column"
    text, path = str(getattr(config, text_key)), folder / table
    if not path.is_file():
        near = nearest_name(folder, table)
        hint = f"Did you mean {near!r}?" if near else f"Put it into {config.path}."
        raise UserError(f"{key}.table: {table}: there is no such file in {config.path}. {hint}")
    named = {image: "image_column", text: text_key}
    if config.split_column is not None:
        named[config.split_column] = "split_column"
    keys = {column: f"{key}.{name}" for column, name in named.items()}
    # rows of a validation split may have no image and no label
    schema = TableSchema(required=tuple(named), keys=keys, may_be_empty=(image, text))
    for row in read_table_file(path, schema, location=f"{key}.table").rows:
        split = _split_of(row, config, key)
        file = posixpath.normpath(row.cells[image].replace("\\", "/"))
        for column in (image, text) if split != VALIDATION else ():
            if not row.cells[column]:
                raise empty_cell(path, row, column, location=f"{key}.table")
        if not is_inside(file) and split != VALIDATION:
            what = f"{row.position} of {table}: {file} is outside {config.path}, which is watched for changes"
            raise UserError(f"{key}.image_column: {what}. Name files relative to it.")
        yield Entry(row.position, _stored_name(folder, file), plain_name(row.cells[text]), split)


def _split_of(row: Row, config: Config, key: str) -> str:
    if config.split_column is None:
        return ""
    value = row.cells[config.split_column]
    split = split_of(value)
    if split is None:
        what = f"{row.position} of {config.table}: unknown split {printable(value)!r}"
        hint = f"{did_you_mean(value.casefold(), KNOWN_SPLITS)} Rows of val are left out"
        raise UserError(f"{key}.split_column: {config.split_column}: {what}. {hint}.")
    return split


def _unused_splits(folder: Path, config: Config, location: str) -> tuple[str, ...]:
    """Returns a note on a column of splits that is not used on purpose. UserError if the row does not mention it."""
    if config.split_column is not None:
        return ()
    used = {getattr(config, key, None) for key in ("image_column", "label_column", "caption_column")}
    found = _columns_of_splits(folder / str(config.table), used)
    if not found:
        return ()
    column, values = next(iter(found.items()))
    what = f"column {column!r} has only the values {', '.join(sorted(values))}"
    if "split_column" in config.model_fields_set:
        return (f"{what}, but the images are split by seed, as split_column: null says.",)
    use = f"To use it, write split_column: {column} (gift add-task --split-column {column})"
    ignore = "To split by seed anyway, split_column: null (gift add-task --test-fraction 0.2)"
    raise UserError(f"{location}: {what}. {use}. {ignore}.")


def _columns_of_splits(path: Path, used: Collection[str | None]) -> dict[str, set[str]]:
    """Returns {column: its values} of the columns that are not `used` and have nothing but the names of splits."""
    header, rows = READERS[path.suffix.lower()](path, _text_columns(path))
    found: dict[str, set[str]] = {column: set() for column in header if column not in used}
    for row in rows:
        for column in list(found):
            value = row.cells.get(column, "")
            if split_of(value) is None:
                del found[column]
            else:
                found[column].add(value)
        if not found:
            break
    return {column: values for column, values in found.items() if len(set(map(split_of, values))) > 1}


def _text_columns(path: Path) -> list[str] | None:
    """The columns of a Parquet file that have texts: others may be large, and no split. None (all) for a text file."""
    if path.suffix.lower() != ".parquet":
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {field.name: field.type for field in pq.read_schema(path)}
    plain = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in kinds.items()}
    return [name for name, kind in plain.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]


def _stored_name(folder: Path, file: str) -> str:
    """The name of the file as the disk has it: macOS writes decomposed Unicode, tables mostly have the composed one."""
    spellings = (file, unicodedata.normalize("NFC", file), unicodedata.normalize("NFD", file))
    return next((name for name in spellings if _is_file(folder / name)), file)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _require_files(entries: Iterable[Entry], folder: Path, location: str) -> None:
    """Raises UserError, which names the rows, where a file does not exist."""
    missing = [entry for entry in entries if not _is_file(folder / entry.file)]
    if missing:
        named = ", ".join(_describe(entry, folder) for entry in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        files = "1 image file is" if len(missing) == 1 else f"{len(missing)} image files are"
        raise UserError(f"{location}: {files} missing: {named}{more}. Correct the table, or put the files there.")


def _unlisted(folder: Path, used: Collection[str]) -> tuple[str, ...]:
    """Returns notes on the images of the folder that are in no row, and on its other files."""
    images: list[str] = []
    left_out = LeftOut()
    for parent, _, files in os.walk(folder):
        for name in sorted(Path(parent, file).relative_to(folder).as_posix() for file in files):
            if name in used:
                continue
            if is_in_hidden(name):
                left_out.add(HIDDEN, name)
            elif Path(name).suffix.lower() in SUFFIXES:
                images.append(printable(name))
            else:
                left_out.add(NO_IMAGE, name)
    images.sort()
    verb = "is" if len(images) == 1 else "are"
    what = f"{plural(len(images), 'image')} of the folder {verb} in no row: {first_names(images)}."
    return (*([what] if images else []), *left_out.notes())


def _describe(entry: Entry, folder: Path) -> str:
    near = nearest_name(folder, entry.file)
    file = printable(entry.file[:MAX_NAME])
    return f"{entry.position}: {file}" + (f" (did you mean {near!r}?)" if near else "")
