"""A folder of images with one sub-folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gift_core.config.tasks import FolderTaskConfig
from gift_core.datasets.dataset import VALIDATION, Listing, Sample, validation_note
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import FolderReader, split_folders
from gift_core.datasets.spelling import plain_name, split_of, split_within
from gift_core.errors import UserError, printable
from gift_core.quantities import first_names, plural


def list_folder(name: str, config: FolderTaskConfig, root: Path) -> Listing:
    """Returns the images of <path>/{train,test}/<class>/*, or of <path>/<class>/*, which have no splits.

    The images of a class are sorted by their paths. The notes say what was left out, such as class folders without
    images.

    UserError if images are missing, and for a layout that could be read in two ways: splits by other names, a class
    beside the splits.
    """
    location = f"params.yaml: tasks.{name}.path: {config.path}"
    folder = root / config.path
    reader = FolderReader(folder, location, used=[config.class_names] if isinstance(config.class_names, str) else [])
    top = reader.group(reader.images())
    splits = split_folders({child: len(images) for child, images in top.items()}, location)
    if not splits:
        _require_classes(list(top), reader, location)
    samples, empty = list[Sample](), list[str]()
    for split, parent in (splits or {"": ""}).items():
        classes = reader.group(top[parent], parent) if split else top
        if split != VALIDATION and not any(classes.values()):
            shown = (folder / parent).name
            problem = f"the sub-folders of {shown}/ have no images" if classes else f"{shown}/ has no sub-folders"
            remedy = f"Put images into one folder per class ({', '.join(SUFFIXES)}), or give --table or --webdataset"
            raise UserError(f"{location}: {problem}. {remedy}.")
        for child, images in classes.items():
            samples += reader.samples(images, plain_name(child), split)
            if not images and split != VALIDATION:
                empty.append(printable(f"{(Path(parent) / child).as_posix()}/"))
    notes = validation_note(f"{splits.get(VALIDATION)}/", (sample.split for sample in samples))
    if empty:
        notes += (f"{plural(len(empty), 'class folder')} without images left out: {first_names(empty)}.",)
    return Listing(samples, location, (*notes, *reader.notes()), folders=True)


def _require_classes(folders: Sequence[str], reader: FolderReader, location: str) -> None:
    """Raises UserError if the folders look like splits (seg_train), or have the splits inside."""
    named = set(map(split_within, folders))
    inside = {folder: set(map(split_of, reader.group([], folder))) for folder in folders}
    holding = [folder for folder, splits in inside.items() if "train" in splits and splits & {"test", VALIDATION}]
    if holding or (None not in named and "train" in named and len(named) > 1):
        problem = f"{holding[0]}/ has folders of splits" if holding else f"{first_names(folders)} look like splits"
        raise UserError(
            f"{location}: {problem}, not of classes. Write train/<class>/ and test/<class>/ directly in path."
        )
