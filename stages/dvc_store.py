"""DVC's objects: whether each has the content that its name says, in the cache, the workspace and the default remote.

An object is named after the MD5 of its bytes. DVC looks at names, times and sizes only: it does not notice changed
bytes in the cache, and it does not upload an object while the remote has one of that name, or the listing (`.dir`) of
its folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from gift_core.artifacts.contract import READ_BYTES
from gift_core.errors import UserError
from gift_core.untrusted import read_json_file
from gift_core.work.publishing import write_atomically

READERS = 8  # objects read from the remote at the same time
LISTING = ".dir"
_OBJECT = re.compile(r"[0-9a-f]{32}")
_UNTRUSTED = "Nothing was written. DVC would follow it, so take dvc.lock and .dvc files only from people you trust."


@dataclass(frozen=True)
class TrackedFile:
    """A file of an output, and the name of its object."""

    path: Path
    oid: str


@dataclass(frozen=True)
class Output:
    """An output that dvc.lock or a .dvc file records. `stage` makes it, and is empty for raw data.

    `listing` is the object that lists a folder's files, empty for a single file. The files of a folder are unknown, and
    so none, while the cache has no whole listing.
    """

    path: Path
    stage: str
    listing: str
    files: tuple[TrackedFile, ...]

    @property
    def objects(self) -> list[str]:
        """The names of all its objects."""
        return [*([self.listing] if self.listing else []), *(file.oid for file in self.files)]


class DvcStore:
    """The outputs of the DVC project in `root`. UserError with DVC's reason where DVC fails."""

    def __init__(self, root: Path) -> None:
        with dvc_errors():
            from dvc.repo import Repo

            self._repo: Any = Repo(str(root))
            self._odb: Any = self._repo.cache.local

    def outputs(self) -> list[Output]:
        """Returns every output with a recorded hash, sorted by path.

        UserError for a hash that is none, an output outside the project, and a listing with a file that is not below
        the output's folder.
        """
        with dvc_errors():
            outs = [out for out in self._repo.index.outs if out.use_cache and out.hash_info and out.hash_name == "md5"]
            return sorted((self._output(out) for out in outs), key=lambda output: output.path)

    def _output(self, out: Any) -> Output:
        path, oid, stage = Path(out.fs_path), str(out.hash_info.value), str(getattr(out.stage, "name", None) or "")
        if not _OBJECT.fullmatch(_plain(oid)):
            raise UserError(f"{path}: its recorded hash {oid!r} is no MD5. {_UNTRUSTED}")
        if not out.is_in_repo:
            raise UserError(f"{path}: this output of {out.stage.relpath} is outside the project. {_UNTRUSTED}")
        if oid.endswith(LISTING):
            return Output(path, stage, oid, self._files(path, oid))
        return Output(path, stage, "", (TrackedFile(path, oid),))

    def _files(self, path: Path, listing: str) -> tuple[TrackedFile, ...]:
        return listed_files(path, self._cache_path(listing)) if self._is_whole(listing) else ()

    def _reread(self, output: Output) -> Output:
        """The output with its files, if the cache has its listing by now."""
        return replace(output, files=self._files(output.path, output.listing)) if output.listing else output

    def _cache_path(self, oid: str) -> Path:
        return Path(self._odb.oid_to_path(oid))

    def _is_whole(self, oid: str) -> bool:
        return md5_of(self._cache_path(oid)) == _plain(oid)

    def problems(self, output: Output) -> list[str]:
        """Returns what is wrong with the output in the cache and, if it is there, in the workspace."""
        output = self._reread(output)
        changed = [oid for oid in output.objects if self._cache_path(oid).is_file() and not self._is_whole(oid)]
        problems = [f"the cache has other bytes under {oid}" for oid in changed]
        if not output.path.exists():
            return problems
        if not output.files:
            return [*problems, "the cache has no listing of its files, so they cannot be compared with dvc.lock"]
        return problems + [text for file in output.files if (text := self._workspace_problem(file))]

    def _workspace_problem(self, file: TrackedFile) -> str:
        if not file.path.is_file():
            return f"{file.path.name} is missing"
        return "" if md5_of(file.path) == file.oid else f"{file.path.name} is not the file that dvc.lock records"

    def heal(self, output: Output) -> None:
        """Restores the output from the copy that is whole: in the workspace, the cache or the default remote.

        Broken copies are removed. Where none is whole, DVC will find the output missing and make it again.
        """
        from dvc.repo import lock_repo

        with dvc_errors(), lock_repo(self._repo):
            if output.listing:
                self._heal_listing(output)
            for file in self._reread(output).files:
                self._heal_object(file.oid, file.path)
                if output.path.exists():
                    self._heal_file(file)

    def _heal_listing(self, output: Output) -> None:
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.tree import Tree

        self._heal_object(output.listing, output.path)
        if self._is_whole(output.listing) or not output.path.is_dir():
            return
        tree = Tree()
        for file in sorted(path for path in output.path.rglob("*") if path.is_file()):
            tree.add(file.relative_to(output.path).parts, None, HashInfo("md5", md5_of(file)))
        tree.digest()
        if tree.oid == output.listing:
            self._odb.add(tree.path, tree.fs, tree.oid)

    def _heal_object(self, oid: str, copy: Path) -> None:
        """Replaces an object that is not whole by the file `copy` or the remote's object, if these are whole."""
        from dvc.fs import LocalFileSystem

        path = self._cache_path(oid)
        if self._is_whole(oid):
            return
        path.unlink(missing_ok=True)
        if md5_of(copy) == oid:
            self._odb.add(str(copy), LocalFileSystem(), oid)
        elif self.has_remote:
            self._pull(oid)
            if not self._is_whole(oid):
                path.unlink(missing_ok=True)

    def _heal_file(self, file: TrackedFile) -> None:
        if md5_of(file.path) == file.oid:
            return
        file.path.unlink(missing_ok=True)
        if self._is_whole(file.oid):
            with write_atomically(file.path) as unfinished:
                shutil.copyfile(self._cache_path(file.oid), unfinished)

    @property
    def has_remote(self) -> bool:
        """Whether there is a default remote."""
        return bool(self._repo.config["core"].get("remote"))

    def _pull(self, oid: str) -> None:
        from dvc_data.hashfile.hash_info import HashInfo

        self._repo.cloud.pull({HashInfo("md5", oid)})

    def broken_on_remote(self) -> list[str]:
        """Returns the names of the outputs' objects that have other bytes on the default remote. It reads all of them.

        UserError if there is no default remote. Objects that were never pushed are left out.
        """
        if not self.has_remote:
            raise UserError(
                "verify --remote: there is no default remote. Set one up: dvc remote add --default NAME URL"
            )
        with dvc_errors():
            for output in self.outputs():
                if output.listing and not output.files:
                    self._pull(output.listing)
            oids = sorted({oid for output in self.outputs() for oid in output.objects})
            remote = self._repo.cloud.get_remote_odb()
            with ThreadPoolExecutor(READERS) as readers:
                whole = list(readers.map(lambda oid: _is_whole_or_absent(remote, oid), oids))
        return [oid for oid, is_whole in zip(oids, whole, strict=True) if not is_whole]

    def remove_from_remote(self, oids: Iterable[str]) -> None:
        """Removes the objects and the listings that name them, so that the next `dvc push` uploads them again."""
        from dvc_data.hashfile.db import get_index

        removed = set(oids)
        listings = {output.listing for output in self.outputs() if output.listing and removed & set(output.objects)}
        with dvc_errors():
            remote = self._repo.cloud.get_remote_odb()
            for oid in sorted(removed | listings):
                path = remote.oid_to_path(oid)
                if remote.fs.exists(path):
                    remote.fs.remove(path)
            with closing(get_index(remote)) as index:  # what DVC remembers of the remote's content
                index.clear()

    def can_push(self, oids: Iterable[str]) -> bool:
        """Whether the cache has all of these objects, whole."""
        return all(self._is_whole(oid) for oid in oids)


def listed_files(folder: Path, listing: Path) -> tuple[TrackedFile, ...]:
    """Returns the files of `folder` that the object `listing` names.

    UserError for an entry that is not the relative path of a file below `folder`, or is there twice, and for a hash
    that is no MD5. DVC checks neither.
    """
    try:
        entries = read_json_file(listing)
        found: dict[str, TrackedFile] = {}
        for entry in entries if isinstance(entries, list) else [entries]:
            name, oid = _entry(entry)
            if name in found:
                raise ValueError(f"it has {name!r} twice")
            found[name] = TrackedFile(folder / name, oid)
    except ValueError as error:
        what = f"{listing}: this is DVC's listing of {folder}, but {error}"
        raise UserError(f"{what}. {_UNTRUSTED}") from None
    return tuple(found.values())


def _entry(entry: Any) -> tuple[str, str]:
    """The path and the hash of one entry. ValueError if they are not what DVC writes."""
    name, oid = (entry.get(key) for key in ("relpath", "md5")) if isinstance(entry, dict) else (None, None)
    if not isinstance(name, str) or not is_below(name):
        raise ValueError(f"{name!r} is no path of a file in this folder")
    if not isinstance(oid, str) or not _OBJECT.fullmatch(oid):
        raise ValueError(f"{name!r} has the hash {oid!r}, which is no MD5")
    return name, oid


def is_below(name: str, *, windows: bool = os.name == "nt") -> bool:
    """Returns whether a path of a listing stays in the listing's folder, on this operating system."""
    return not {"", ".", ".."} & set(name.split("/")) and not (windows and re.search(r"[\\:]", name))


def md5_of(path: Path) -> str:
    """Returns the MD5 of the file's bytes in hexadecimal digits, empty if it is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return _md5(file)


def _md5(file: BinaryIO) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while block := file.read(READ_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _plain(oid: str) -> str:
    return oid.removesuffix(LISTING)


def _is_whole_or_absent(remote: Any, oid: str) -> bool:
    try:
        with remote.fs.open(remote.oid_to_path(oid), "rb") as file:
            return _md5(file) == _plain(oid)
    except FileNotFoundError:
        return True


@contextmanager
def dvc_errors() -> Iterator[None]:
    """Turns DVC's errors into a UserError with its reason."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise UserError(f"DVC: {' '.join(str(error).split())}") from error
