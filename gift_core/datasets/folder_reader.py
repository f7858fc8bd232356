"""The files below a data set's folder: the images, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from gift_core.artifacts.task import SPLITS
from gift_core.datasets.dataset import Sample
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.spelling import SPLIT_NAMES, require_utf8, split_of
from gift_core.errors import UserError, printable
from gift_core.quantities import first_names, plural

# What operating systems and programs leave in folders, besides names that begin with a dot.
_STRAY = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin",
          "lost+found", "system volume information"}  # fmt: skip


def is_hidden(name: str) -> bool:
    """Returns whether a file or a folder is hidden, or an operating system's own (Thumbs.db, __MACOSX)."""
    return name.startswith(".") or name.casefold() in _STRAY


def left_out_notes(names: Iterable[str]) -> tuple[str, ...]:
    """Returns "6 files left out: README, wren/notes.txt, 4 hidden." if there are any. Hidden ones are counted alone."""
    files = sorted(names)
    if not files:
        return ()
    shown = [printable(name) for name in files if not any(map(is_hidden, PurePosixPath(name).parts))]
    listed = [first_names(shown)] if shown else []
    if len(shown) < len(files):
        listed.append(f"{len(files) - len(shown)} hidden")
    return (f"{plural(len(files), 'file')} left out: {', '.join(listed)}.",)


def split_folders(top: Mapping[str, int], location: str) -> dict[str, str]:
    """Returns {train, test or validation: its folder} in this order, none without splits. `top`: {folder: its images}.

    UserError, beginning with `location`, for two folders of a split, a missing one, and images beside the splits.
    """
    folder_of: dict[str, str] = {}
    for folder in top:
        split = split_of(folder)
        if split is None:
            continue
        first = folder_of.setdefault(split, folder)
        if first != folder:
            problem = f"{first}/ and {folder}/ are both names of the {split} split"
            raise UserError(f"{location}: {problem}. Merge them, or rename one.")
    if not folder_of:
        return {}
    named = " and ".join(f"{folder}/" for folder in folder_of.values())
    for split in SPLITS:
        if split not in folder_of:
            problem = f"{split}/ is missing next to the other split, {named}"
            remedy = "Add it, or rename a folder to it. If it is a class, rename its folder and set class_names"
            raise UserError(f"{location}: {problem}. {remedy}.")
    for folder, images in top.items():
        if images and folder not in folder_of.values():
            problem = f"{folder or '.'}/ has {plural(images, 'image')}, but it is beside {named}"
            raise UserError(f"{location}: {problem}. Move them into {named}, or remove the folder.")
    return {split: folder_of[split] for split in SPLIT_NAMES if split in folder_of}


class FolderReader:
    """Lists the images of one folder. Links are followed.

    `location` begins the error messages. `used`: the names of files that are read in other ways, so not left out. After
    `images`, `folders` has the names of all folders below it, and `left_out` those of other files and hidden folders.
    """

    def __init__(self, folder: Path, location: str, *, used: Collection[str] = ()) -> None:
        self.left_out, self.folders = list[str](), list[str]()
        self._folder, self._location = folder, location
        self._used = used
        self._links: list[str] = []

    def images(self) -> list[str]:
        """Returns the names of the images at any depth, sorted.

        UserError for a folder that is reached twice: through a link to a folder above it, or through two links.
        """
        images = list[str]()
        seen = dict[tuple[int, int], str]()  # the first name of each folder, by its device and inode
        for parent, folders, files in os.walk(self._folder, followlinks=True, onerror=_refuse):
            path = Path(parent)
            below = path.relative_to(self._folder).as_posix()
            status = path.stat()
            prefix = "" if below == "." else f"{below}/"
            first = seen.setdefault((status.st_dev, status.st_ino), below)
            if first != below:
                problem = (
                    f"{printable(first)}/ and {printable(below)}/ are the same folder, because one is a link or is"
                )
                raise UserError(f"{self._location}: {problem} below a link. Remove the link.")
            if prefix and path.is_symlink():
                self._links.append(printable(prefix))
            self.left_out += [f"{prefix}{name}/" for name in folders if is_hidden(name)]
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            self.folders += [f"{prefix}{name}" for name in folders]
            for name in files:
                is_image = PurePosixPath(name).suffix.lower() in SUFFIXES and not is_hidden(name)
                (images if is_image else self.left_out).append(f"{prefix}{name}")
        self.left_out = [name for name in self.left_out if name not in self._used]
        return sorted(images)

    def group(self, images: Iterable[str], parent: str = "") -> dict[str, list[str]]:
        """Returns {sub-folder of `parent`: its images}, sorted. Images that are in no sub-folder are left out."""
        prefix = f"{parent}/" if parent else ""
        inside = (name.removeprefix(prefix) for name in self.folders if name.startswith(prefix))
        groups: dict[str, list[str]] = {name: [] for name in sorted(inside) if "/" not in name}
        for image in images:
            child, slash, _ = image.removeprefix(prefix).partition("/")
            (groups[child] if slash else self.left_out).append(image)
        return groups

    def samples(self, images: Iterable[str], label: str = "", split: str = "") -> Iterator[Sample]:
        """Yields samples with the same label and split.

        UserError for a link to a file that does not exist, and a name that is not UTF-8.
        """
        for name in images:
            path = self._folder / name
            require_utf8(name, self._location)
            try:
                status = path.stat()
            except FileNotFoundError:
                problem = f"{name} is a link to {printable(str(path.readlink()))}, which does not exist"
                raise UserError(f"{self._location}: {problem}. Bring the file there, or remove the link.") from None
            yield Sample(label, printable(name), status.st_size, path.read_bytes, split)

    def notes(self) -> tuple[str, ...]:
        notes = left_out_notes(self.left_out)
        if self._links:
            notes += (f"DVC sees no changes behind links to folders inside a data set: {first_names(self._links)}.",)
        return notes


def _refuse(error: OSError) -> None:
    """os.walk would leave out a folder that cannot be listed."""
    raise error
