"""A table of image files and labels: CSV or Parquet, a row an image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gift_core.config.tasks import TableTaskConfig, is_inside
from gift_core.errors import UserError
from gift_core.tasks.class_names import name_classes
from gift_core.tasks.found import SPLITS, Found, Splits, labels_to_learn, list_found, split_by_seed
from gift_core.tasks.listing import Listing
from gift_core.tasks.places import nearest_name, require_folder
from gift_core.tasks.reader import NAMED
from gift_core.tasks.table_rows import read_rows


@dataclass(frozen=True)
class _Entry:
    """What a row says of an image: its place in the table, the file below the task's path, label and split."""

    where: str
    file: str
    label: str
    split: str


def table_listing(name: str, config: TableTaskConfig, *, root: Path, seed: int) -> Listing:
    """Returns the table's images, in the order of its rows; labels are numbers or names.

    UserError for a missing table, column or image file (each with the nearest name), an empty cell, a file that comes
    twice, a split column without train or test, and what the classes lack.
    """
    place = f"params.yaml: tasks.{name}"
    folder = root / config.path
    require_folder(folder, f"{place}.path: {config.path}")
    entries = list(_read_entries(folder, config, place))
    _require_once(entries, f"{place}.table: {config.table}")
    _require_files(entries, folder, f"{place}.table: {config.table}")
    splits = _split(entries, folder, config, seed, f"{place}.table: {config.table}")
    labels = labels_to_learn(splits, f"{place}.table: {config.table}")
    return list_found(splits, name_classes(labels, config, folder=folder, task=name), config.templates)


def _read_entries(folder: Path, config: TableTaskConfig, place: str) -> Iterator[_Entry]:
    """Yields the rows of both splits; with a split column, rows of other splits are left out."""
    if not (folder / config.table).is_file():
        near = nearest_name(folder, config.table)
        hint = f"Did you mean {near!r}?" if near else f"Put it into {config.path}."
        raise UserError(f"{place}.table: {config.table}: there is no such file in {config.path}. {hint}")
    columns = {"image_column": config.image_column, "label_column": config.label_column}
    if config.split_column is not None:
        columns["split_column"] = config.split_column
    for row in read_rows(folder / config.table, columns, place):
        split = row.cells[config.split_column].casefold() if config.split_column is not None else ""
        if config.split_column is not None and split not in SPLITS:
            continue
        for key in ("image_column", "label_column"):
            if not row.cells[columns[key]]:
                what = f"{row.where} of {config.table} is empty in column {columns[key]!r}"
                raise UserError(f"{place}.{key}: {what}. Fill it in, or remove the row.")
        file = posixpath.normpath(row.cells[config.image_column].replace("\\", "/"))
        if not is_inside(file):
            what = f"{row.where} of {config.table}: {file} lies outside {config.path}, where changes are watched"
            raise UserError(f"{place}.image_column: {what}. Name files relative to it.")
        yield _Entry(row.where, file, row.cells[config.label_column], split)


def _require_once(entries: Iterable[_Entry], place: str) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.file in seen:
            what = f"{entry.file} stands on {seen[entry.file]} and on {entry.where}"
            raise UserError(f"{place}: {what}. Remove one: an image is learned from or tested on, with one label.")
        seen[entry.file] = entry.where


def _require_files(entries: Iterable[_Entry], folder: Path, place: str) -> None:
    missing = [entry for entry in entries if not (folder / entry.file).is_file()]
    if missing:
        named = ", ".join(_describe(entry, folder) for entry in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        files = "1 image file is" if len(missing) == 1 else f"{len(missing)} image files are"
        raise UserError(f"{place}: {files} missing: {named}{more}. Correct the table, or put the files there.")


def _describe(entry: _Entry, folder: Path) -> str:
    near = nearest_name(folder, entry.file)
    return f"{entry.where}: {entry.file}" + (f" (did you mean {near!r}?)" if near else "")


def _split(entries: Sequence[_Entry], folder: Path, config: TableTaskConfig, seed: int, place: str) -> Splits:
    if config.split_column is None:
        found = [_found(entry, folder) for entry in entries]
        return split_by_seed(found, test_fraction=config.test_fraction, seed=seed, place=place)
    splits = {split: [_found(entry, folder) for entry in entries if entry.split == split] for split in SPLITS}
    for split, images in splits.items():
        if not images:
            what = f"no row has {split} in column {config.split_column!r}"
            raise UserError(f"{place}: {what}. Write train and test there, or split_column: null for a seeded split.")
    return splits


def _found(entry: _Entry, folder: Path) -> Found:
    path = folder / entry.file
    return Found(entry.label, entry.file, path.read_bytes, path.stat().st_size)
