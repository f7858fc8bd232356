"""A folder of images, one sub-folder a class, as a source of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gift_core.artifacts.task import LabelledImage
from gift_core.config import FolderTaskConfig
from gift_core.errors import UserError
from gift_core.seeds import seed_for
from gift_core.tasks.images import SUFFIXES, plain_image
from gift_core.tasks.source import TaskSource

SPLITS = ("train", "test")
NAMED = 5  # bad files that an error names
_GROWTH = 3  # at most, of a file that must be encoded again as PNG
Files = dict[str, list[Path]]  # class folder's name -> its images, in order


def folder_source(name: str, config: FolderTaskConfig, *, root: Path, image_format: str, seed: int) -> TaskSource:
    """Returns the folder's images as a source; class names are the folders' names, with _ and - as spaces.

    The layout is <path>/{train,test}/<class>/* or, split by seed, <path>/<class>/*. Classes are in the order of their
    folders' names, files in the order of theirs. UserError where there is no folder, image or second class, where a
    class is empty, and where test has a class that train has not.
    """
    place = f"params.yaml: tasks.{name}.path: {config.path}"
    splits = _find_splits(root / config.path, place, config.test_fraction, seed)
    folders = sorted(splits["train"])
    reader = _Reader(place, config.on_bad_image, image_format, root / config.path)
    return TaskSource(
        class_names=_class_names(folders, place),
        templates=config.templates,
        counts={split: sum(map(len, splits[split].values())) for split in SPLITS},
        expected_bytes=_GROWTH * sum(path.stat().st_size for split in SPLITS for path in _all(splits[split])),
        train=reader.read_train(splits["train"], folders),
        test=reader.read_test(splits["test"], folders),
        skipped=reader.bad,
    )


@dataclass
class _Reader:
    """Decodes both splits, and keeps the files that could not be decoded: (file, reason)."""

    place: str
    on_bad_image: str
    image_format: str
    folder: Path
    bad: list[tuple[str, str]] = field(default_factory=list)

    def read_train(self, files: Files, folders: Sequence[str]) -> Iterator[LabelledImage]:
        """Yields the images to learn from; UserError where a class has none left after skipping."""
        seen = dict.fromkeys(folders, 0)
        for label, folder, image, extension in self._decode(files, folders):
            seen[folder] += 1
            yield image, extension, label
        empty = [folder for folder in folders if not seen[folder]]
        if empty and self.on_bad_image == "skip":
            what = f"no image of class {empty[0]!r} can be decoded, so it cannot be learned"
            raise UserError(f"{self.place}: {what}. Replace its images, or remove the folder.")

    def read_test(self, files: Files, folders: Sequence[str]) -> Iterator[LabelledImage]:
        """Yields the images to test on; UserError for bad images of either split where refused, or for none."""
        read = 0
        for label, _, image, extension in self._decode(files, folders):
            read += 1
            yield image, extension, label
        if self.bad and self.on_bad_image == "refuse":
            raise UserError(self._refusal())
        if not read:
            raise UserError(f"{self.place}: no test image can be decoded. Replace the images.")

    def _decode(self, files: Files, folders: Sequence[str]) -> Iterator[tuple[int, str, bytes, str]]:
        for label, folder in enumerate(folders):
            for path in files.get(folder, []):
                try:
                    image, extension = plain_image(path, self.image_format)
                except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error and others
                    self.bad.append((path.relative_to(self.folder).as_posix(), _reason(error)))
                else:
                    yield label, folder, image, extension

    def _refusal(self) -> str:
        named = ", ".join(f"{file} ({reason})" for file, reason in self.bad[:NAMED])
        more = f" and {len(self.bad) - NAMED} more" if len(self.bad) > NAMED else ""
        images = "image" if len(self.bad) == 1 else "images"
        what = f"{len(self.bad)} {images} cannot be decoded: {named}{more}"
        return f"{self.place}: {what}. Repair or remove them, or set on_bad_image: skip."


def _find_splits(folder: Path, place: str, test_fraction: float, seed: int) -> Mapping[str, Files]:
    if not folder.is_dir():
        raise UserError(f"{place}: there is no such folder. Put the images there, one sub-folder a class.")
    names = [path.name for path in _subfolders(folder)]
    if set(names) & set(SPLITS):
        if not set(SPLITS) <= set(names):
            missing = next(split for split in SPLITS if split not in names)
            raise UserError(f"{place}: there is no {missing}/ beside the other split. Add it, or merge both into one.")
        splits = {split: _find_classes(folder / split, f"{place}/{split}") for split in SPLITS}
        unknown = sorted(set(splits["test"]) - set(splits["train"]))
        if unknown:
            what = f"class {unknown[0]!r} is in test/ but not in train/"
            raise UserError(f"{place}: {what}. Give the two folders of a class the same name.")
        return splits
    classes = _find_classes(folder, place)
    return _split(classes, place, test_fraction, seed)


def _find_classes(folder: Path, place: str) -> Files:
    classes = {path.name: _image_files(path) for path in _subfolders(folder)}
    if not any(classes.values()):
        raise UserError(
            f"{place}: there are no images in its sub-folders. Put them into one folder a class: {', '.join(SUFFIXES)}."
        )
    empty = [name for name, files in classes.items() if not files]
    if empty:
        raise UserError(f"{place}: class {empty[0]!r} has no images. Add some, or remove the folder.")
    return classes


def _split(classes: Files, place: str, test_fraction: float, seed: int) -> Mapping[str, Files]:
    """Takes `test_fraction` of each class (rounded, one at least) for the test, by the class's own seed."""
    train: Files = {}
    test: Files = {}
    for name, files in classes.items():
        if len(files) < 2:
            raise UserError(f"{place}: class {name!r} has one image, too few to split. Add some, or remove the folder.")
        order = np.random.default_rng(seed_for("split", seed, name)).permutation(len(files))
        taken = set(order[: min(max(round(test_fraction * len(files)), 1), len(files) - 1)].tolist())
        train[name] = [path for index, path in enumerate(files) if index not in taken]
        test[name] = [path for index, path in enumerate(files) if index in taken]
    return {"train": train, "test": test}


def _class_names(folders: Sequence[str], place: str) -> tuple[str, ...]:
    names = tuple(" ".join(folder.replace("_", " ").replace("-", " ").split()) for folder in folders)
    if len(names) < 2:
        raise UserError(f"{place}: there is one class ({folders[0]}), two at least are needed. Add a folder a class.")
    for name in names:
        if names.count(name) > 1 or not name:
            same = [folder for folder, other in zip(folders, names, strict=True) if other == name]
            raise UserError(f"{place}: folders {', '.join(same)} give the class name {name!r}. Rename them.")
    return names


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    """The folder's images at any depth, hidden files left out, by their path below it."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.as_posix())


def _all(files: Files) -> Iterator[Path]:
    for paths in files.values():
        yield from paths


def _reason(error: Exception) -> str:
    """The error's first line without the bytes and addresses that Pillow puts into it: the same on each run."""
    return "not an image" if "cannot identify" in str(error) else (str(error).splitlines() or [type(error).__name__])[0]
