"""A folder of images with one sub-folder per class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import FolderTaskConfig
from gift_core.datasets.dataset import VALIDATION, Listing, Sample, validation_note
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import FolderReader, split_folders
from gift_core.datasets.spelling import plain_name, printable, split_of, split_within
from gift_core.errors import UserError
from gift_core.quantities import first_names

RENAME = "Name the two folders train and test"
Classes = Mapping[str, list[str]]  # {folder: its images}


def list_folder(name: str, config: FolderTaskConfig, root: Path) -> Listing:
    """Returns the images of <path>/{train,test}/<class>/*, or of <path>/<class>/*, which have no splits.

    The images of a class are sorted by their paths. The notes say what was left out, such as class folders without
    images.

    UserError if images are missing, and for a layout that could be read in two ways: splits by other names, a class
    beside the splits.
    """
    location, folder = f"params.yaml: tasks.{name}.path: {config.path}", root / config.path
    reader = FolderReader(folder, location, used=[config.class_names] if isinstance(config.class_names, str) else [])
    top = reader.group(reader.images())
    if splits := split_folders({each: len(images) for each, images in top.items()}, location):
        classes = {split: reader.group(top[path], path) for split, path in splits.items()}
    else:
        _require_classes(top, reader, location)
        classes = {"": top}
    samples, empty = list[Sample](), list[str]()
    for split in (*SPLITS, VALIDATION) if splits else ("",):
        found, prefix = classes.get(split, {}), f"{splits[split]}/" if split in splits else ""
        if split != VALIDATION and not any(found.values()):
            name = (folder / prefix).name
            what = f"the sub-folders of {name}/ have no images" if found else f"{name}/ has no sub-folders"
            lists = sorted(path.name for path in folder.glob("*") if path.suffix in (".csv", ".parquet", ".tar"))
            option = "--webdataset" if lists and lists[0].endswith(".tar") else "--table"
            hint = f" If {lists[0]} has the labels: {option}." if lists else ""
            remedy = f"Put the images into one folder per class: {', '.join(SUFFIXES)}.{hint}"
            raise UserError(f"{location}: {what}. {remedy}")
        for each, images in found.items():
            samples += reader.samples(images, plain_name(each), split)
            empty += [printable(f"{prefix}{each}/")] * (not images and split != VALIDATION)
    notes = validation_note(f"{splits.get(VALIDATION)}/", (sample.split for sample in samples))
    if empty:
        folders = "1 class folder" if len(empty) == 1 else f"{len(empty)} class folders"
        notes += (f"{folders} without images left out: {first_names(empty)}.",)
    return Listing(samples, location, (*notes, *reader.notes()), folders=True)


def _require_classes(top: Classes, reader: FolderReader, location: str) -> None:
    """Raises UserError if the folders look like splits, or have the splits inside."""
    words = set(map(split_within, top))
    if None not in words and "train" in words and len(words) > 1:
        raise UserError(f"{location}: {' and '.join(top)} look like splits, not like classes. {RENAME}.")
    for folder in top:
        inside = set(map(split_of, reader.group([], folder)))
        if "train" in inside and inside & {"test", VALIDATION}:
            what = f"{folder}/ has folders of splits, but a split should have the folders of the classes"
            remedy = f"Write train/<class>/ and test/<class>/. If {folder}/ is the whole data set, add its name to path"
            raise UserError(f"{location}: {what}. {remedy}.")
