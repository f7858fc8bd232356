"""A table of image files and labels with one row per image: CSV, TSV or Parquet."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gift_core.artifacts.table_files import TableSchema, empty_cell, read_table_file
from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import TableTaskConfig, is_inside
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
)
from gift_core.errors import UserError


@dataclass(frozen=True)
class _Entry:
    """A row of the table: its position, the file relative to the task's path, its label and split."""

    position: str
    file: str
    label: str
    split: str


def table_dataset(name: str, config: TableTaskConfig, *, root: Path, seed: int) -> Dataset:
    """Returns the images of the table in the order of its rows.

    UserError for a missing table, column or image file (each with the nearest name), an empty cell, a duplicate file, a
    split column without train or test, and for too few classes.
    """
    key = f"params.yaml: tasks.{name}"
    folder = root / config.path
    require_folder(folder, f"{key}.path: {config.path}")
    location = f"{key}.table: {config.table}"
    entries = list(_read_entries(folder, config, key))
    _require_distinct_files(entries, location)
    _require_files(entries, folder, location)
    splits = _split(entries, folder, config, seed, location)
    classes = name_classes(labels_to_learn(splits, location), config, folder=folder, task=name)
    return Dataset(classes, config.templates, splits["train"], splits["test"])


def _read_entries(folder: Path, config: TableTaskConfig, key: str) -> Iterator[_Entry]:
    """Yields the rows of both splits. With a split column, rows of other splits are ignored."""
    path = folder / config.table
    if not path.is_file():
        near = nearest_name(folder, config.table)
        hint = f"Did you mean {near!r}?" if near else f"Put it into {config.path}."
        raise UserError(f"{key}.table: {config.table}: there is no such file in {config.path}. {hint}")
    for row in read_table_file(path, _schema(config, key), location=f"{key}.table").rows:
        split = row.cells[config.split_column].casefold() if config.split_column is not None else ""
        if config.split_column is not None and split not in SPLITS:
            continue
        for column in (config.image_column, config.label_column):
            if not row.cells[column]:
                raise empty_cell(path, row, column, location=f"{key}.table")
        file = posixpath.normpath(row.cells[config.image_column].replace("\\", "/"))
        if not is_inside(file):
            what = f"{row.position} of {config.table}: {file} is outside {config.path}, which is watched for changes"
            raise UserError(f"{key}.image_column: {what}. Name files relative to it.")
        yield _Entry(row.position, file, row.cells[config.label_column], split)


def _schema(config: TableTaskConfig, key: str) -> TableSchema:
    """Empty cells are allowed here, because rows of other splits may have them."""
    named = {config.image_column: "image_column", config.label_column: "label_column"}
    if config.split_column is not None:
        named[config.split_column] = "split_column"
    keys = {column: f"{key}.{name}" for column, name in named.items()}
    return TableSchema(required=tuple(named), keys=keys, may_be_empty=tuple(named))


def _require_distinct_files(entries: Iterable[_Entry], location: str) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.file in seen:
            what = f"{entry.file} is on {seen[entry.file]} and on {entry.position}"
            raise UserError(f"{location}: {what}. Remove one: an image has one label and belongs to one split.")
        seen[entry.file] = entry.position


def _require_files(entries: Iterable[_Entry], folder: Path, location: str) -> None:
    missing = [entry for entry in entries if not (folder / entry.file).is_file()]
    if missing:
        named = ", ".join(_describe(entry, folder) for entry in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        files = "1 image file is" if len(missing) == 1 else f"{len(missing)} image files are"
        raise UserError(f"{location}: {files} missing: {named}{more}. Correct the table, or put the files there.")


def _describe(entry: _Entry, folder: Path) -> str:
    near = nearest_name(folder, entry.file)
    return f"{entry.position}: {entry.file}" + (f" (did you mean {near!r}?)" if near else "")


def _split(entries: Sequence[_Entry], folder: Path, config: TableTaskConfig, seed: int, location: str) -> Splits:
    if config.split_column is None:
        samples = [_sample(entry, folder) for entry in entries]
        return split_by_seed(samples, test_fraction=config.test_fraction, seed=seed, location=location)
    splits = {split: [_sample(entry, folder) for entry in entries if entry.split == split] for split in SPLITS}
    for split, samples in splits.items():
        if not samples:
            what = f"no row has {split} in column {config.split_column!r}"
            raise UserError(f"{location}: {what}. Write train and test there, or split_column: null to split by seed.")
    return splits


def _sample(entry: _Entry, folder: Path) -> Sample:
    path = folder / entry.file
    return Sample(entry.label, entry.file, path.read_bytes, path.stat().st_size)
