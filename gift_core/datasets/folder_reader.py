"""The files below a data set's folder: the images, and a count of what is left out and why."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from gift_core.datasets.dataset import Sample
from gift_core.datasets.decoding import HEIC_SUFFIXES, SUFFIXES
from gift_core.datasets.spelling import printable, require_utf8
from gift_core.errors import UserError
from gift_core.quantities import first_names, plural

HIDDEN, NO_IMAGE, OTHER_EXTENSION = "hidden", "not an image", "with image content but another extension"
NO_CLASS, SPECIAL = "in no class folder", "not a regular file"
# What operating systems and programs leave in folders, besides names that begin with a dot. Values: as it is counted.
_STRAY_FILES = {"thumbs.db": "Thumbs.db", "ehthumbs.db": "ehthumbs.db", "desktop.ini": "desktop.ini",
                "icon\r": "Icon", ".ds_store": ".DS_Store"}  # fmt: skip
_STRAY_FOLDERS = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information"}
_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"8BPS",
               b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ", b"\xff\x0a")  # JPEG 2000, JPEG XL  # fmt: skip
_BRANDS = (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1", b"ftypavi")
_KINDS_SHOWN, _NAMES_SHOWN = 12, 2


class LeftOut:
    """Counts the files of a data set that are not read, by kind."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Counts a file. `name` is its path below the data set's folder."""
        self._names.setdefault((reason, _kind(reason, name)), []).append(printable(name))

    def images_in(self, folder: str) -> list[str]:
        """Returns the files below `folder` (with a slash at its end) that are images under another extension."""
        names = self._names.get((OTHER_EXTENSION, OTHER_EXTENSION), [])
        return sorted(name for name in names if name.startswith(folder))

    def notes(self) -> tuple[str, ...]:
        """Returns "6 files left out: 3 Thumbs.db, 2 in __MACOSX, 1 .txt (wren/notes.txt)." if there are any."""
        if not self._names:
            return ()
        kinds = sorted(self._names.items(), key=lambda kind: (-len(kind[1]), kind[0]))
        parts = [_counted(reason, kind, names) for (reason, kind), names in kinds[:_KINDS_SHOWN]]
        if rest := kinds[_KINDS_SHOWN:]:
            parts.append(f"{sum(len(names) for _, names in rest)} of {len(rest)} other kinds")
        total = sum(map(len, self._names.values()))
        return (f"{total} {'file' if total == 1 else 'files'} left out: {', '.join(parts)}.",)


def _kind(reason: str, name: str) -> str:
    """What a file is counted as: the folder that it is in, its name or its extension, or just the reason."""
    if reason == HIDDEN:
        *folders, file = PurePosixPath(name).parts
        hidden = next((folder for folder in folders if is_hidden(folder)), None)
        if hidden is not None:
            return f"in {hidden}"
        return "._ files of macOS" if file.startswith("._") else _STRAY_FILES.get(file.casefold(), HIDDEN)
    if reason == NO_IMAGE:
        return PurePosixPath(name).suffix.lower() or "without an extension"
    return reason


def _counted(reason: str, kind: str, names: list[str]) -> str:
    shown = "" if reason == HIDDEN else f" ({first_names(sorted(names), _NAMES_SHOWN)})"
    return f"{len(names)} {printable(kind)}{shown}"


class FolderReader:
    """Lists the images of one data set. Links are followed.

    `location` begins the error messages. `used`: the names of files that are read in other ways, so not left out.
    `beside`: the extension of files that belong to the images. `found_beside` has their names.
    """

    def __init__(self, folder: Path, location: str, *, used: Collection[str] = (), beside: str | None = None) -> None:
        self.left_out = LeftOut()
        self.found_beside: list[str] = []
        self._folder, self._location, self._used, self._beside = folder, location, used, beside
        self._seen: dict[tuple[int, int], str] = {}
        self._links: list[str] = []
        self._twins: list[str] = []

    def subfolders(self, folder: Path) -> list[Path]:
        """Returns the folders in `folder` that are not hidden, sorted. The files in it are left out."""
        found = []
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            raise self._not_listed(error) from None
        for path in paths:
            if path.is_dir() and not is_hidden(path.name):
                require_utf8(self._name(path), self._location)
                found.append(path)
            elif path.is_dir():
                self._leave_out_all(path)
            elif self._name(path) not in self._used:
                self.left_out.add(_reason(path, _status(path)) or NO_CLASS, self._name(path))
        return found

    def images(self, folder: Path, label: str = "", split: str = "") -> list[Sample]:
        """Returns the images at any depth of `folder`, sorted by path, all with the same label and split.

        UserError for a link to a file that does not exist, a name that is not UTF-8, a folder that cannot be listed,
        and a folder that is reached twice: through a link to a folder above it, or through two links.
        """
        found = []
        for path, name in self.files(folder):
            status = _status(path)
            reason = _reason(path, status)
            if reason is not None and path.suffix.lower() == self._beside:
                self.found_beside.append(name)
                continue
            if reason is not None:
                self.left_out.add(reason, name)
                continue
            require_utf8(name, self._location)
            if status is None and not path.is_symlink():
                raise UserError(f"{self._location}: {name} cannot be read. Allow to read its folder.")
            if status is None:
                what = f"{name} is a link to {printable(str(path.readlink()))}, which does not exist"
                raise UserError(f"{self._location}: {what}. Bring the file there, or remove the link.")
            found.append((name, path, status.st_size))
        found.sort()
        self._twins += _twins([name for name, _, _ in found])
        return [Sample(label, printable(name), size, path, split=split) for name, path, size in found]

    def files(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """Yields the files at any depth of `folder` that are not hidden, and their names below the data set's folder.

        They come in no order. UserError as `images`.
        """
        for parent, folders, files in os.walk(folder, followlinks=True, onerror=self._refuse):
            path = Path(parent)
            below = self._name(path)
            self._require_new(path)
            for name in [name for name in folders if is_hidden(name)]:
                folders.remove(name)
                self._leave_out_all(path / name)
            for name in files:
                full = name if below == "." else f"{below}/{name}"
                if is_hidden(name):
                    self.left_out.add(HIDDEN, full)
                else:
                    yield path / name, full

    def leave_out(self, path: Path, name: str) -> None:
        """Counts a file of `files` whose name is not that of an image."""
        self.left_out.add(_reason(path, _status(path)) or NO_IMAGE, name)

    def notes(self) -> tuple[str, ...]:
        """Returns what was left out, which folders are links, and which photos may be there in two formats."""
        notes = self.left_out.notes()
        if self._links:
            notes += (f"DVC sees no changes behind links to folders inside a data set: {first_names(self._links)}.",)
        if self._twins:
            what = f"{plural(len(self._twins), 'image')} in HEIC beside one of the same name in another format"
            notes += (f"{what}: {first_names(self._twins)}. Remove one of each two if they show the same.",)
        return notes

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _require_new(self, path: Path) -> None:
        status, name = path.stat(), printable(self._name(path))
        first = self._seen.setdefault((status.st_dev, status.st_ino), name)
        if first != name:
            what = f"{first}/ and {name}/ are the same folder, because one is a link or is below a link"
            raise UserError(f"{self._location}: {what}. Remove the link.")
        if path.is_symlink() and path != self._folder:
            self._links.append(f"{name}/")

    def _refuse(self, error: OSError) -> None:
        raise self._not_listed(error) from None

    def _not_listed(self, error: OSError) -> UserError:
        name = printable(str(error.filename))
        return UserError(f"{self._location}: {name} cannot be listed ({error.strerror}). Allow to read it.")

    def _leave_out_all(self, folder: Path) -> None:
        for parent, _, files in os.walk(folder):
            for file in files:
                self.left_out.add(HIDDEN, self._name(Path(parent, file)))


def _twins(names: list[str]) -> list[str]:
    """Returns the HEIC images that have another image of the same name beside them, as phones leave them."""
    stems = Counter(name.rpartition(".")[0].casefold() for name in names)
    heic = (name for name in names if name.lower().endswith(HEIC_SUFFIXES))
    return [printable(name) for name in heic if stems[name.rpartition(".")[0].casefold()] > 1]


def is_hidden(name: str) -> bool:
    """Returns whether a file or a folder is hidden, or an operating system's own (Thumbs.db, __MACOSX)."""
    return name.startswith(".") or name.casefold() in _STRAY_FILES or name.casefold() in _STRAY_FOLDERS


def is_in_hidden(name: str) -> bool:
    """Returns whether a path has a part that is hidden."""
    return any(map(is_hidden, PurePosixPath(name).parts))


def _status(path: Path) -> os.stat_result | None:
    """None for a link to a file that does not exist, and for a link in a circle."""
    try:
        return path.stat()
    except OSError:
        return None


def _reason(path: Path, status: os.stat_result | None) -> str | None:
    """Why a file is left out. None for an image, and for a link with the name of an image to a file that is missing."""
    if is_hidden(path.name):
        return HIDDEN
    if status is not None and not stat.S_ISREG(status.st_mode):
        return SPECIAL
    if path.suffix.lower() in SUFFIXES:
        return None
    return OTHER_EXTENSION if _begins_like_an_image(path) else NO_IMAGE


def _begins_like_an_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(_BEGINNINGS) or start[8:] == b"WEBP" or start[4:].startswith(_BRANDS)
