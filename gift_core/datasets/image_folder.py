"""A folder of images with one sub-folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import FolderTaskConfig
from gift_core.datasets.dataset import Dataset, Sample, Splits, labels_to_learn, name_folders, split_by_seed
from gift_core.datasets.decoding import SUFFIXES
from gift_core.errors import UserError


def folder_dataset(name: str, config: FolderTaskConfig, *, root: Path, seed: int) -> Dataset:
    """Returns the images of <path>/{train,test}/<class>/*, or of <path>/<class>/* split by seed.

    Classes are sorted by the names of their folders, images by their paths. Without class_names in the row, the folders
    name the classes, with spaces for _ and -. UserError if the folder, images or a second class are missing, if a class
    is empty, or if only the test split has a class.
    """
    location = f"params.yaml: tasks.{name}.path: {config.path}"
    folder = root / config.path
    splits = _find_splits(folder, location, config.test_fraction, seed)
    labels = sorted(labels_to_learn(splits, location))
    classes = name_folders(labels, config, folder=folder, task=name)
    return Dataset(classes, config.templates, splits["train"], splits["test"])


def _find_splits(folder: Path, location: str, test_fraction: float, seed: int) -> Splits:
    if not folder.is_dir():
        raise UserError(f"{location}: there is no such folder. Put the images there, in one sub-folder per class.")
    names = [path.name for path in _subfolders(folder)]
    if not set(names) & set(SPLITS):
        samples = list(_find_images(folder, folder, location))
        return split_by_seed(samples, test_fraction=test_fraction, seed=seed, location=location)
    if not set(SPLITS) <= set(names):
        missing = next(split for split in SPLITS if split not in names)
        raise UserError(f"{location}: {missing}/ is missing next to the other split. Add it, or merge both into one.")
    splits = {split: list(_find_images(folder / split, folder, f"{location}/{split}")) for split in SPLITS}
    unknown = sorted({sample.label for sample in splits["test"]} - {sample.label for sample in splits["train"]})
    if unknown:
        what = f"class {unknown[0]!r} is in test/ but not in train/"
        raise UserError(f"{location}: {what}. Give both folders of a class the same name.")
    return splits


def _find_images(parent: Path, folder: Path, location: str) -> Iterator[Sample]:
    """Yields the images in the class folders of `parent`. Their names are paths relative to `folder`."""
    classes = {path.name: _image_files(path) for path in _subfolders(parent)}
    if not any(classes.values()):
        kinds = ", ".join(SUFFIXES)
        raise UserError(f"{location}: its sub-folders have no images. Put them into one folder per class: {kinds}.")
    for label, files in classes.items():
        if not files:
            raise UserError(f"{location}: class {label!r} has no images. Add some, or remove the folder.")
        for path in files:
            yield Sample(label, path.relative_to(folder).as_posix(), path.read_bytes, path.stat().st_size)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    """The images at any depth, without hidden files, sorted by path."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.as_posix())
