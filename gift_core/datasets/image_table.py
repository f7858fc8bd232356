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
    Dataset,
    Sample,
    Splits,
    labels_to_learn,
    name_classes,
    nearest_name,
    require_folder,
    split_by_seed,
    untested_classes,
    validation_note,
)
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import HIDDEN, NO_IMAGE, LeftOut, is_in_hidden
from gift_core.datasets.spelling import KNOWN_SPLITS, MAX_NAME, plain_name, printable, split_of
from gift_core.errors import UserError, did_you_mean
from gift_core.quantities import first_names, plural

VALIDATION = "validation"


@dataclass(frozen=True)
class Entry:
    """A row of the table: its position, the file relative to the task's path, its label or caption, and its split."""

    position: str
    file: str
    label: str
    split: str


@dataclass(frozen=True)
class Columns:
    """A table and the columns that are read. `text_key` is the key of params.yaml that names the column of texts.

    `split_is_chosen`: whether the row of the task says how it is split.
    """

    path: str
    table: str
    image: str
    text: str
    text_key: str
    split: str | None
    split_is_chosen: bool


def columns_of(config: TableTaskConfig | PairsTaskConfig) -> Columns:
    """Returns the columns that a row of tasks names: labels or captions."""
    key = "caption_column" if isinstance(config, PairsTaskConfig) else "label_column"
    return Columns(
        config.path, str(config.table), str(config.image_column), str(getattr(config, key)), key, config.split_column,
        "split_column" in config.model_fields_set,
    )  # fmt: skip


def table_dataset(name: str, config: TableTaskConfig, *, root: Path, seed: int) -> Dataset:
    """Returns the images of the table in the order of its rows.

    With a split column, rows of a validation split belong to neither split. `notes` count them, and the files of the
    folder that are in no row. UserError for a missing table, column or image file (each with the nearest name), an
    empty cell, a duplicate file, an unknown split, a split column without train or test, a column of splits that the
    row does not mention, and for too few classes.
    """
    key = f"params.yaml: tasks.{name}"
    folder = root / config.path
    require_folder(folder, f"{key}.path: {config.path}")
    location = f"{key}.table: {config.table}"
    columns = columns_of(config)
    everything = list(read_entries(folder, columns, key))
    unused = unused_splits(folder, columns, location)
    entries = [entry for entry in everything if entry.split != VALIDATION]
    _require_distinct_files(entries, location)
    require_files(entries, folder, location)
    splits = _split(entries, folder, config, seed, location)
    classes = name_classes(labels_to_learn(splits, location), config, folder=folder, task=name)
    validation = validation_note(f"val in column {config.split_column!r}", len(everything) - len(entries))
    used = {entry.file for entry in everything} | {config.table}
    used |= {config.class_names} if isinstance(config.class_names, str) else set()
    notes = (*unused, *validation, *untested_classes(classes, splits), *unlisted(folder, used))
    return Dataset(
        classes, config.templates, splits["train"], splits["test"], notes,
        [sample for sample in validation_samples(everything, folder) if sample.label in classes],
        by_seed=config.split_column is None,
    )  # fmt: skip


def read_entries(folder: Path, columns: Columns, key: str) -> Iterator[Entry]:
    """Yields the rows of all splits."""
    path = folder / columns.table
    if not path.is_file():
        near = nearest_name(folder, columns.table)
        hint = f"Did you mean {near!r}?" if near else f"Put it into {columns.path}."
        raise UserError(f"{key}.table: {columns.table}: there is no such file in {columns.path}. {hint}")
    for row in read_table_file(path, _schema(columns, key), location=f"{key}.table").rows:
        split = _split_of(row, columns, key)
        for column in (columns.image, columns.text):
            if not row.cells[column] and split != VALIDATION:
                raise empty_cell(path, row, column, location=f"{key}.table")
        file = posixpath.normpath(row.cells[columns.image].replace("\\", "/"))
        if not is_inside(file) and split != VALIDATION:
            what = f"{row.position} of {columns.table}: {file} is outside {columns.path}, which is watched for changes"
            raise UserError(f"{key}.image_column: {what}. Name files relative to it.")
        yield Entry(row.position, _stored_name(folder, file), plain_name(row.cells[columns.text]), split)


def _split_of(row: Row, columns: Columns, key: str) -> str:
    if columns.split is None:
        return ""
    value = row.cells[columns.split]
    split = split_of(value)
    if split is None:
        what = f"{row.position} of {columns.table}: unknown split {printable(value)!r}"
        hint = f"{did_you_mean(value.casefold(), KNOWN_SPLITS)} Rows of val are left out"
        raise UserError(f"{key}.split_column: {columns.split}: {what}. {hint}.")
    return split


def unused_splits(folder: Path, columns: Columns, location: str) -> tuple[str, ...]:
    """Returns a note on a column of splits that is not used on purpose. UserError if the row does not mention it."""
    if columns.split is not None:
        return ()
    found = _columns_of_splits(folder / columns.table, {columns.image, columns.text})
    if not found:
        return ()
    column, values = next(iter(found.items()))
    what = f"column {column!r} has only the values {', '.join(sorted(values))}"
    if columns.split_is_chosen:
        return (f"{what}, but the images are split by seed, as split_column: null says.",)
    use = f"To use it, write split_column: {column} (gift add-task --split-column {column})"
    ignore = "To split by seed anyway, split_column: null (gift add-task --test-fraction 0.2)"
    raise UserError(f"{location}: {what}. {use}. {ignore}.")


def _columns_of_splits(path: Path, used: Collection[str]) -> dict[str, set[str]]:
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


def _schema(columns: Columns, key: str) -> TableSchema:
    named = {columns.image: "image_column", columns.text: columns.text_key}
    if columns.split is not None:
        named[columns.split] = "split_column"
    keys = {column: f"{key}.{name}" for column, name in named.items()}
    unlabeled = (columns.image, columns.text)  # of a validation split
    return TableSchema(required=tuple(named), keys=keys, may_be_empty=unlabeled)


def _require_distinct_files(entries: Iterable[Entry], location: str) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.file in seen:
            what = f"{entry.file} is on {seen[entry.file]} and on {entry.position}"
            raise UserError(f"{location}: {what}. Remove one: an image has one label and belongs to one split.")
        seen[entry.file] = entry.position


def require_files(entries: Iterable[Entry], folder: Path, location: str) -> None:
    """Raises UserError, which names the rows, where a file does not exist."""
    missing = [entry for entry in entries if not _is_file(folder / entry.file)]
    if missing:
        named = ", ".join(_describe(entry, folder) for entry in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        files = "1 image file is" if len(missing) == 1 else f"{len(missing)} image files are"
        raise UserError(f"{location}: {files} missing: {named}{more}. Correct the table, or put the files there.")


def unlisted(folder: Path, used: Collection[str]) -> tuple[str, ...]:
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


def _split(entries: Sequence[Entry], folder: Path, config: TableTaskConfig, seed: int, location: str) -> Splits:
    if config.split_column is None:
        samples = [sample_of(entry, folder) for entry in entries]
        return split_by_seed(samples, test_fraction=config.test_fraction, seed=seed, location=location)
    splits = {split: [sample_of(entry, folder) for entry in entries if entry.split == split] for split in SPLITS}
    for split, samples in splits.items():
        if not samples:
            what = f"no row has {split} in column {config.split_column!r}"
            raise UserError(f"{location}: {what}. Write train and test there, or split_column: null to split by seed.")
    return splits


def validation_samples(entries: Iterable[Entry], folder: Path) -> list[Sample]:
    """Returns the images of the rows of a validation split, without those that are not in the folder."""
    held = (entry for entry in entries if entry.split == VALIDATION and is_inside(entry.file) and entry.label)
    return [sample_of(entry, folder) for entry in held if _is_file(folder / entry.file)]


def sample_of(entry: Entry, folder: Path) -> Sample:
    """Returns the image of a row."""
    path = folder / entry.file
    return Sample(entry.label, printable(entry.file), path.read_bytes, path.stat().st_size, path)
