"""The files below a data set's folder: the images, and a count of what is left out and why."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from gift_core.datasets.dataset import Sample
from gift_core.datasets.decoding import HEIC_SUFFIXES, SUFFIXES
from gift_core.datasets.spelling import printable, require_utf8
from gift_core.errors import UserError
from gift_core.quantities import first_names, plural

# What operating systems and programs leave in folders, besides names that begin with a dot.
_STRAY = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin",
          "lost+found", "system volume information"}  # fmt: skip
_HIDDEN, _NO_IMAGE, _NO_CLASS, _SPECIAL = "hidden", "not an image", "in no class folder", "not a regular file"
_KINDS_SHOWN, _NAMES_SHOWN = 12, 2


class LeftOut:
    """Counts the files of a data set that are not read, by kind."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], list[str]] = {}

    def add(self, name: str, reason: str = "") -> None:
        """Counts a file. `name` is its path below the data set's folder, `reason` why it is left out as an image."""
        *folders, file = PurePosixPath(name).parts
        hidden = next((folder for folder in folders if is_hidden(folder)), None)
        if hidden is not None:
            kind = _HIDDEN, f"in {hidden}"
        elif is_hidden(file):
            named = file.casefold() in {*_STRAY, ".ds_store"}
            kind = _HIDDEN, "._ files of macOS" if file.startswith("._") else file if named else _HIDDEN
        else:
            kind = (reason, reason) if reason else (_NO_IMAGE, _suffix(name) or "without an extension")
        self._names.setdefault(kind, []).append(printable(name))

    def notes(self) -> tuple[str, ...]:
        """Returns "6 files left out: 3 Thumbs.db, 2 in __MACOSX, 1 .txt (wren/notes.txt)." if there are any."""
        parts = []
        for (reason, kind), names in sorted(self._names.items(), key=lambda item: (-len(item[1]), item[0])):
            shown = "" if reason == _HIDDEN else f" ({first_names(sorted(names), _NAMES_SHOWN)})"
            parts.append(f"{len(names)} {printable(kind)}{shown}")
        total = sum(map(len, self._names.values()))
        what = f"{total} {'file' if total == 1 else 'files'} left out: {first_names(parts, _KINDS_SHOWN)}."
        return (what,) if parts else ()


class FolderReader:
    """Lists the images of one folder. Links are followed.

    `location` begins the error messages. `used`: the names of files that are read in other ways, so not left out.
    `beside`: the extension of files that belong to the images. `found_beside` has their names, `folders` the names of
    all folders below it.
    """

    def __init__(self, folder: Path, location: str, *, used: Collection[str] = (), beside: str | None = None) -> None:
        self.left_out = LeftOut()
        self.folders: list[str] = []
        self.found_beside: list[str] = []
        self._folder, self._location, self._used, self._beside = folder, location, used, beside
        self._links: list[str] = []
        self._twins: list[str] = []

    def images(self) -> list[str]:
        """Returns the names of the images at any depth, sorted. Other files are left out.

        UserError for a folder that is reached twice: through a link to a folder above it, or through two links.
        """
        found = []
        for name in self._files():
            suffix = _suffix(name)
            if suffix in SUFFIXES:
                found.append(name)
            elif suffix == self._beside:
                self.found_beside.append(name)
            else:
                self.left_out.add(name)
        found.sort()
        stems = Counter(name.rpartition(".")[0] for name in found)
        heic = (name for name in found if name.lower().endswith(HEIC_SUFFIXES))
        self._twins = [printable(name) for name in heic if stems[name.rpartition(".")[0]] > 1]
        return found

    def group(self, images: Iterable[str], parent: str = "") -> dict[str, list[str]]:
        """Returns {sub-folder of `parent`: its images}, sorted. Images that are in no sub-folder are left out."""
        prefix = f"{parent}/" if parent else ""
        inside = (name.removeprefix(prefix) for name in self.folders if name.startswith(prefix))
        found: dict[str, list[str]] = {name: [] for name in sorted(inside) if "/" not in name}
        for image in images:
            child, slash, _ = image.removeprefix(prefix).partition("/")
            if slash:
                found[child].append(image)
            else:
                self.left_out.add(image, _NO_CLASS)
        return found

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
                what = f"{name} is a link to {printable(str(path.readlink()))}, which does not exist"
                raise UserError(f"{self._location}: {what}. Bring the file there, or remove the link.") from None
            if stat.S_ISREG(status.st_mode):
                yield Sample(label, printable(name), status.st_size, path, split=split)
            else:
                self.left_out.add(name, _SPECIAL)

    def notes(self) -> tuple[str, ...]:
        """Returns what was left out, which folders are links, and which photos may be there in two formats."""
        notes = self.left_out.notes()
        if self._links:
            notes += (f"DVC sees no changes behind links to folders inside a data set: {first_names(self._links)}.",)
        if self._twins:
            what = f"{plural(len(self._twins), 'image')} in HEIC beside one of the same name in another format"
            notes += (f"{what}: {first_names(self._twins)}. Remove one of each two if they show the same.",)
        return notes

    def _files(self) -> Iterator[str]:
        """Yields the names of the files at any depth that are not hidden, in no order."""
        seen: dict[tuple[int, int], str] = {}
        for parent, folders, files in os.walk(self._folder, followlinks=True, onerror=_refuse):
            path = Path(parent)
            below = path.relative_to(self._folder).as_posix()
            status, prefix = path.stat(), "" if below == "." else f"{below}/"
            first = seen.setdefault((status.st_dev, status.st_ino), below)
            if first != below:
                what = f"{printable(first)}/ and {printable(below)}/ are the same folder, because one is a link or is"
                raise UserError(f"{self._location}: {what} below a link. Remove the link.")
            if prefix and path.is_symlink():
                self._links.append(printable(prefix))
            hidden = [name for name in folders if is_hidden(name)]
            folders[:] = sorted(set(folders) - set(hidden))
            self.folders += [f"{prefix}{name}" for name in folders]
            for folder, _, inside in (each for name in hidden for each in os.walk(path / name)):
                for name in inside:
                    self.left_out.add((Path(folder) / name).relative_to(self._folder).as_posix())
            for name in (f"{prefix}{name}" for name in files):
                if is_hidden(PurePosixPath(name).name):
                    self.left_out.add(name)
                elif name not in self._used:
                    yield name


def is_hidden(name: str) -> bool:
    """Returns whether a file or a folder is hidden, or an operating system's own (Thumbs.db, __MACOSX)."""
    return name.startswith(".") or name.casefold() in _STRAY


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _refuse(error: OSError) -> None:
    """os.walk would leave out a folder that cannot be listed."""
    raise error
