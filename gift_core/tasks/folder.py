"""A folder of images, one sub-folder a class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gift_core.config.tasks import FolderTaskConfig
from gift_core.errors import UserError
from gift_core.tasks.class_names import name_folders
from gift_core.tasks.found import SPLITS, Found, Splits, labels_to_learn, list_found, split_by_seed
from gift_core.tasks.images import SUFFIXES
from gift_core.tasks.listing import Listing


def folder_listing(name: str, config: FolderTaskConfig, *, root: Path, seed: int) -> Listing:
    """Returns the folder's images; without class_names the folders' names are the classes', with _ and - as spaces.

    The layout is <path>/{train,test}/<class>/* or, split by seed, <path>/<class>/*. Classes are in the order of their
    folders' names, files in the order of theirs. UserError where there is no folder, image or second class, where a
    class is empty, and where test has a class that train has not.
    """
    place = f"params.yaml: tasks.{name}.path: {config.path}"
    folder = root / config.path
    splits = _find_splits(folder, place, config.test_fraction, seed)
    labels = sorted(labels_to_learn(splits, place))
    return list_found(splits, name_folders(labels, config, folder=folder, task=name), config.templates)


def _find_splits(folder: Path, place: str, test_fraction: float, seed: int) -> Splits:
    if not folder.is_dir():
        raise UserError(f"{place}: there is no such folder. Put the images there, one sub-folder a class.")
    names = [path.name for path in _subfolders(folder)]
    if not set(names) & set(SPLITS):
        found = list(_find_images(folder, folder, place))
        return split_by_seed(found, test_fraction=test_fraction, seed=seed, place=place)
    if not set(SPLITS) <= set(names):
        missing = next(split for split in SPLITS if split not in names)
        raise UserError(f"{place}: there is no {missing}/ beside the other split. Add it, or merge both into one.")
    splits = {split: list(_find_images(folder / split, folder, f"{place}/{split}")) for split in SPLITS}
    unknown = sorted({image.label for image in splits["test"]} - {image.label for image in splits["train"]})
    if unknown:
        what = f"class {unknown[0]!r} is in test/ but not in train/"
        raise UserError(f"{place}: {what}. Give the two folders of a class the same name.")
    return splits


def _find_images(parent: Path, folder: Path, place: str) -> Iterator[Found]:
    """Yields the images of the classes of `parent`, named by their place below the data set's `folder`."""
    classes = {path.name: _image_files(path) for path in _subfolders(parent)}
    if not any(classes.values()):
        raise UserError(
            f"{place}: there are no images in its sub-folders. Put them into one folder a class: {', '.join(SUFFIXES)}."
        )
    for label, files in classes.items():
        if not files:
            raise UserError(f"{place}: class {label!r} has no images. Add some, or remove the folder.")
        for path in files:
            yield Found(label, path.relative_to(folder).as_posix(), path.read_bytes, path.stat().st_size)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    """The folder's images at any depth, hidden files left out, by their path below it."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.as_posix())
