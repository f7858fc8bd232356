"""A folder of images with one sub-folder per class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import FolderTaskConfig
from gift_core.datasets.dataset import Listing, Sample, validation_note
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import FolderReader
from gift_core.datasets.spelling import plain_name, printable, split_of, split_within
from gift_core.errors import UserError
from gift_core.quantities import first_names, plural

RENAME = "Name the two folders train and test"


def list_folder(name: str, config: FolderTaskConfig, root: Path) -> Listing:
    """Returns the images of <path>/{train,test}/<class>/*, or of <path>/<class>/*, which have no splits.

    The images of a class are sorted by their paths. The notes say what was left out, such as class folders without
    images.

    UserError if images are missing, if a class has only images that cannot be read, and for a layout that could be read
    in two ways: splits by other names, a class beside the splits.
    """
    location = f"params.yaml: tasks.{name}.path: {config.path}"
    folder = root / config.path
    used = [config.class_names] if isinstance(config.class_names, str) else []
    layout = _Layout(folder, location, FolderReader(folder, location, used=used))
    samples, notes = layout.samples()
    notes = (*notes, *layout.note_empty())
    return Listing(samples, location, notes, layout.reader.notes(), folder_of=layout.folder_of)


class _Layout:
    """The sub-folders of a data set: the classes, or the splits with the classes in them."""

    def __init__(self, folder: Path, location: str, reader: FolderReader) -> None:
        self.folder, self.location, self.reader = folder, location, reader
        self.folder_of: dict[str, str] = {}  # {label: the first folder of that class}
        self._empty: list[str] = []

    def samples(self) -> tuple[list[Sample], tuple[str, ...]]:
        """Returns the images of all splits, and a note if there is a validation split, which belongs to neither."""
        subfolders = self.reader.subfolders(self.folder)
        found = self._name_splits(subfolders)
        if not found:
            self._require_classes(subfolders)
            return list(self._samples(self.folder, subfolders, self.location)), ()
        for split in SPLITS:
            if split not in found:
                raise self._missing(split, found)
        self._refuse_beside([path for path in subfolders if path not in found.values()], found)
        samples = [
            sample
            for split in SPLITS
            for sample in self._samples(
                found[split], self.reader.subfolders(found[split]), f"{self.location}/{found[split].name}", split
            )
        ]
        if "validation" not in found:
            return samples, ()
        path = found["validation"]
        held_out = [
            dataclasses.replace(image, label=plain_name(image.file.relative_to(path).parts[0]))
            for image in self.reader.images(path, split="validation")
        ]
        return samples + held_out, validation_note(f"{path.name}/", len(held_out))

    def _name_splits(self, subfolders: Sequence[Path]) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in subfolders:
            split = split_of(path.name)
            if split is not None and found.setdefault(split, path) != path:
                what = f"{found[split].name}/ and {path.name}/ are both names of the {split} split"
                raise UserError(f"{self.location}: {what}. Merge them, or rename one.")
        return found

    def _missing(self, split: str, found: Mapping[str, Path]) -> UserError:
        others = " and ".join(f"{path.name}/" for path in found.values())
        if split == "test" and {"train", "validation"} <= set(found):
            remedy = f"To test on {found['validation'].name}/, rename it to test"
        elif "validation" in found and len(found) == 1:
            remedy = f"{RENAME}, or give a class of that name another one, and set class_names"
        else:
            remedy = "Add it, or merge both into one. If it is a class, rename its folder and set class_names"
        return UserError(f"{self.location}: {split}/ is missing next to the other split, {others}. {remedy}.")

    def _require_classes(self, subfolders: Sequence[Path]) -> None:
        """Raises UserError if the folders look like splits, or have the splits inside."""
        words = {path.name: split_within(path.name) for path in subfolders}
        if None not in words.values() and "train" in words.values() and len(set(words.values())) > 1:
            what = f"{' and '.join(words)} look like splits, not like classes"
            raise UserError(f"{self.location}: {what}. {RENAME}.")
        for path in subfolders:
            inside = {split_of(each.name) for each in path.iterdir() if each.is_dir()}
            if "train" in inside and inside & {"test", "validation"}:
                what = f"{path.name}/ has folders of splits, but a split should have the folders of the classes"
                raise UserError(f"{self.location}: {what}. Write train/<class>/ and test/<class>/. If {path.name}/ is "
                                "the whole data set, add its name to path.")  # fmt: skip

    def _refuse_beside(self, others: Sequence[Path], found: Mapping[str, Path]) -> None:
        """Raises UserError for images beside the splits. They have no split."""
        for path in others:
            images = self.reader.images(path)
            if images:
                named = " and ".join(f"{split.name}/" for split in found.values())
                what = f"{path.name}/ has {plural(len(images), 'image')}, but it is beside {named}"
                remedy = f"Move them into {found['train'].name}/{path.name}/ and {found['test'].name}/{path.name}/"
                raise UserError(f"{self.location}: {what}. {remedy}, or remove the folder.")

    def _samples(self, parent: Path, classes: Sequence[Path], location: str, split: str = "") -> Iterator[Sample]:
        """Yields the images in the class folders of `parent`."""
        files = {path: self.reader.images(path, plain_name(path.name), split) for path in classes}
        if not any(files.values()):
            kinds, what = ", ".join(SUFFIXES), "its sub-folders have no images" if classes else "it has no sub-folders"
            others = [path.name for path in sorted(parent.iterdir()) if path.suffix in (".csv", ".parquet", ".tar")]
            option = "--webdataset" if others and others[0].endswith(".tar") else "--table"
            hint = f" If {others[0]} has the labels: {option}." if others else ""
            raise UserError(f"{location}: {what}. Put the images into one folder per class: {kinds}.{hint}")
        path_of: dict[str, Path] = {}
        for path, images in files.items():
            label = plain_name(path.name)
            first = path_of.setdefault(label, path)
            if first != path:
                both = f"{first.name!a} and {path.name!a}"
                what = (
                    f"two folders have the name {label!r}, in different Unicode forms or with different spaces: {both}"
                )
                raise UserError(f"{location}: {what}. Merge them.")
            name = f"{printable(path.relative_to(self.folder).as_posix())}/"
            if not images:
                self._leave_out_empty(path, name, location)
                continue
            self.folder_of.setdefault(label, name)
            yield from images

    def _leave_out_empty(self, path: Path, name: str, location: str) -> None:
        """Notes a class folder without images. UserError if it has images, but only of kinds that are not read."""
        unread = self.reader.left_out.images_in(name)
        if unread:
            what = f"class {printable(path.name)!r} has no image with an extension that is read: {first_names(unread)}"
            remedy = f"Rename or convert them ({', '.join(SUFFIXES)}), or remove the folder"
            raise UserError(f"{location}: {what}. {remedy}.")
        self._empty.append(name)

    def note_empty(self) -> tuple[str, ...]:
        """Returns a note that names the class folders without images, if there are any."""
        if not self._empty:
            return ()
        folders = "1 class folder" if len(self._empty) == 1 else f"{len(self._empty)} class folders"
        return (f"{folders} without images left out: {first_names(self._empty)}.",)
