"""A table of image files and labels or captions with one row per image or caption."""

from __future__ import annotations

import os
import posixpath
import shlex
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from gift_core.artifacts.table_files import READERS, Row, TableSchema, empty_cell, fitting_columns, read_table_file
from gift_core.config.tasks import PairsTaskConfig, TableTaskConfig, is_inside
from gift_core.datasets.card import card_of, names_in_card
from gift_core.datasets.dataset import NAMED, VALIDATION, Listing, validation_note
from gift_core.datasets.folder_reader import FolderReader
from gift_core.datasets.parquet_images import IMAGES, features_of, list_parquet, parquet_errors, split_by_name
from gift_core.datasets.spelling import default_class_name, plain_captions, plain_name, require_split, split_of
from gift_core.errors import UserError, nearest, no_such_path, printable
from gift_core.quantities import first_names, plural

Config = TableTaskConfig | PairsTaskConfig


@dataclass(frozen=True)
class Entry:
    """A row of the table: its position, the file relative to the task's path, its label or captions, and its split."""

    position: str
    file: str
    is_file: bool
    label: str
    split: str


def list_table(name: str, config: Config, root: Path) -> Listing:
    """Returns the images of the table in the order of their first rows. An image has the captions of all its rows.

    The notes count the rows of a validation split, and the files of the folder that are in no row. UserError for a
    missing table or column, each with the nearest name, and for all rows with an empty cell, an unknown split, or an
    image that is missing, has two labels or is in two splits.
    """
    key = f"params.yaml: tasks.{name}"
    folder, location = root / config.path, f"{key}.table: {config.table}"
    files_with_images = _files_with_images(folder, config, location)
    if files_with_images:
        return list_parquet(files_with_images, config, folder=folder, location=location)
    images, faults = _entries_by_file(folder, config, key)
    reader = FolderReader(folder, location, used=[str(config.table), str(getattr(config, "class_names", None))])
    files = reader.images()
    missing = [entry for entry in images.values() if not entry.is_file and entry.split != VALIDATION]
    if missing:
        file = missing[0].file
        problem = f"{missing[0].position}: there is no image file {printable(file[:200])}"
        others = [f"{printable(entry.file[:200])} ({entry.position})" for entry in missing[1:]]
        also = f"Also missing: {first_names(others)}. " if others else ""
        remedy = f"{nearest(file, files)}{also}Correct the table, or put it there."
        faults.insert(0, f"{location}: {problem}. {remedy}")
    if faults:
        more = [f"... and {len(faults) - NAMED} more."] if len(faults) > NAMED else []
        raise UserError("\n".join([*faults[:NAMED], *more]))
    samples = [
        sample
        for entry in sorted(images.values(), key=lambda entry: entry.split == VALIDATION)
        if entry.label and entry.is_file
        for sample in reader.samples([entry.file], plain_captions(entry.label), entry.split)
    ]
    notes = validation_note(f"val in column {config.split_column!r}", (entry.split for entry in images.values()))
    unlisted = [printable(file) for file in files if file not in images]
    if unlisted:
        verb = "is" if len(unlisted) == 1 else "are"
        notes += (f"{plural(len(unlisted), 'image')} of the folder {verb} in no row: {first_names(unlisted)}.",)
    return Listing(samples, location, (*notes, *reader.notes()))


def find_split_column(folder: Path, table: str, others: Collection[str]) -> str | None:
    """Returns the column of the table, or of all Parquet files of a pattern, whose texts are all names of splits.

    `others` are columns with another meaning. None if there is no such column, the names of the files are the splits,
    or there is no table that can be read at all. UserError for several columns.
    """
    files = _tables(folder, table)
    if not files or (len(files) > 1 and "test" in {_split_by_name(file, folder) for file in files}):
        return None
    columns = [set(fitting_columns(file, split_of, location="--table")) for file in files]
    of_splits = sorted(set.intersection(*columns).difference(others))
    if len(of_splits) > 1:
        problem = f"the columns {' and '.join(map(repr, of_splits))} have the names of splits"
        raise UserError(f"--table {table}: {problem}. Choose one: --split-column {shlex.quote(of_splits[0])}")
    return of_splits[0] if of_splits else None


def names_by_card(folder: Path, table: str, column: str) -> dict[str, str] | None:
    """Returns {label: class name} of a column of numbers that README.md names (dataset_info). None for any other one.

    Parquet files may have the names themselves, which is then enough. DVC does not watch README.md, so that the names
    belong into params.yaml.
    """
    names = names_in_card(card_of(folder), column)
    labels = set[str]()
    numbers = {str(number): name for number, name in enumerate(names)}
    for file in _tables(folder, table) if names else ():
        if file.suffix.lower() == ".parquet" and _has_names(file, column):
            return None
        schema = TableSchema(required=(), optional=(column,), may_be_empty=(column,))
        labels |= {row.cells.get(column, "") for row in read_table_file(file, schema, location="--table")[1]}
    if not labels.intersection(numbers) or labels - {"", *numbers}:
        return None
    return {number: default_class_name(name) for number, name in numbers.items() if number in labels}


def _has_names(file: Path, column: str) -> bool:
    import pyarrow.parquet as pq

    with parquet_errors(file, "--table"):
        return features_of(pq.read_schema(file)).labels.get(column) is not None


def _tables(folder: Path, table: str) -> list[Path]:
    matches = sorted(folder.glob(table)) if is_inside(table) else []
    return [file for file in matches if file.suffix.lower() in READERS and file.is_file()]


def _split_by_name(file: Path, folder: Path) -> str | None:
    return split_of(split_by_name(file.relative_to(folder).as_posix())[1])


def _files_with_images(folder: Path, config: Config, location: str) -> dict[str, list[Path]]:
    """Returns the Parquet files by split if their image column holds bytes, not paths. The table may be a pattern."""
    files: dict[str, list[Path]] = {}
    pattern = str(config.table)
    if not pattern.lower().endswith(".parquet"):
        return files
    import pyarrow.parquet as pq

    for path in sorted(folder.glob(pattern)):
        with parquet_errors(path, location):
            schema = pq.read_schema(path)
        if config.image_column in schema.names and IMAGES.fullmatch(str(schema.field(config.image_column).type)):
            split = "" if config.split_column else _split_by_name(path, folder) or "train"
            files.setdefault(split, []).append(path)
    return files


def _entries_by_file(folder: Path, config: Config, key: str) -> tuple[dict[str, Entry], list[str]]:
    """Returns the first row of each file with the captions of its other rows, and what is wrong with the rows."""
    path = folder / str(config.table)
    if not path.is_file():
        raise UserError(f"{key}.table: {no_such_path(path, 'file')}")
    columns = {column: f"{key}.{named_by}" for named_by, column in _columns(config).items()}
    may_be_empty = [column for named_by, column in _columns(config).items() if named_by != "split_column"]
    schema = TableSchema(required=tuple(columns), keys=columns, may_be_empty=may_be_empty)
    images: dict[str, Entry] = {}
    faults: list[str] = []
    for row in read_table_file(path, schema, location=f"{key}.table")[1]:
        try:
            entry = _entry(row, folder, config, key)
        except UserError as error:
            faults.append(str(error))
            continue
        first = images.get(entry.file)
        if first and (first.split != entry.split or isinstance(config, TableTaskConfig)):
            problem = f"{config.table}: {entry.file} is on {first.position} and on {entry.position}"
            remedy = "Remove one: an image has one label and belongs to one split."
            faults.append(f"{key}.table: {problem}. {remedy}")
            continue
        images[entry.file] = replace(first, label=f"{first.label}\n{entry.label}") if first else entry
    return images, faults


def _columns(config: Config) -> dict[str, str]:
    """The columns by the key that names them: of the files, of labels or captions, and of splits if there is one."""
    text_key = "caption_column" if isinstance(config, PairsTaskConfig) else "label_column"
    keys = ("image_column", text_key, "split_column")
    return {key: str(getattr(config, key)) for key in keys if getattr(config, key) is not None}


def _entry(row: Row, folder: Path, config: Config, key: str) -> Entry:
    """The row of a table. One of a validation split may have no image and no label."""
    image, text, *_ = _columns(config).values()
    where = f"{row.position} of {config.table}"
    split = ""
    if config.split_column is not None:
        location = f"{key}.split_column: {config.split_column}: {where}"
        split = require_split(row.cells[config.split_column], location)
    file = posixpath.normpath(row.cells[image].replace("\\", "/"))
    for column in (image, text):
        if not row.cells[column] and split != VALIDATION:
            raise empty_cell(folder / str(config.table), row, column, location=f"{key}.table")
    if not is_inside(file) and split != VALIDATION:
        problem = f"{where}: {file} is outside {config.path}, which is watched for changes"
        raise UserError(f"{key}.image_column: {problem}. Name files relative to it.")
    # as the disk spells it: macOS writes decomposed Unicode, tables mostly have the composed one
    spellings = [file, *(unicodedata.normalize(form, file) for form in ("NFC", "NFD"))] if is_inside(file) else []
    stored = next((name for name in spellings if os.path.isfile(folder / name)), None)  # noqa: PTH113  (False for a name that is too long)
    missing = file if spellings else row.position
    return Entry(row.position, stored or missing, stored is not None, plain_name(row.cells[text]), split)
