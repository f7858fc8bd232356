"""DVC's objects: whether each has the content that its name says, in the cache, the workspace and the default remote.

An object is named after the MD5 of its bytes. DVC looks at names, times and sizes only: it does not notice changed
bytes in the cache, and it does not upload an object while the remote has one of that name, or the listing (`.dir`) of
its folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.errors import UserError
from gift_core.untrusted import read_json_file

READERS = 8  # objects read from the remote at the same time
LISTING = ".dir"
_OBJECT = re.compile(r"[0-9a-f]{32}")
_UNTRUSTED = "Nothing was written. DVC would follow it, so take dvc.lock and .dvc files only from people you trust."


TrackedFile = tuple[Path, str]  # a file of an output, and the name of its object


@dataclass(frozen=True)
class Output:
    """An output `out` of DVC that dvc.lock or a .dvc file records. `stage` makes it, and is empty for raw data.

    `oid` is the name of its object, of a folder that of the listing of its files.
    """

    out: Any
    path: Path
    stage: str
    oid: str

    @property
    def listing(self) -> str:
        """The object that lists the files of a folder; empty for a single file."""
        return self.oid if self.oid.endswith(LISTING) else ""


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
        found = []
        with dvc_errors():
            for out in self._repo.index.outs:
                if not (out.use_cache and out.hash_info and out.hash_name == "md5"):
                    continue
                path, oid = Path(out.fs_path), str(out.hash_info.value)
                if not _OBJECT.fullmatch(oid.removesuffix(LISTING)):
                    raise UserError(f"{path}: its recorded hash {oid!r} is no MD5. {_UNTRUSTED}")
                if not out.is_in_repo:
                    raise UserError(f"{path}: this output of {out.stage.relpath} is outside the project. {_UNTRUSTED}")
                found.append(Output(out, path, str(getattr(out.stage, "name", None) or ""), oid))
                self.files(found[-1])
        return sorted(found, key=lambda output: output.path)

    def files(self, output: Output) -> list[TrackedFile]:
        """Returns the files of the output; none of a folder while the cache has no whole listing of it."""
        if not output.listing:
            return [(output.path, output.oid)]
        return listed_files(output.path, self._cache_path(output.oid)) if self.is_whole(output.oid) else []

    def objects(self, output: Output) -> list[str]:
        """Returns the names of all objects of the output that are known."""
        return list(dict.fromkeys([output.oid, *(oid for _, oid in self.files(output))]))

    def is_whole(self, oid: str) -> bool:
        """Whether the cache has the object with the content that its name says."""
        return md5_of(self._cache_path(oid)) == oid.removesuffix(LISTING)

    def _cache_path(self, oid: str) -> Path:
        return Path(self._odb.oid_to_path(oid))

    def problems(self, output: Output) -> list[str]:
        """Returns what is wrong with the output in the cache and, if it is there, in the workspace."""
        damaged = [oid for oid in self.objects(output) if self._cache_path(oid).is_file() and not self.is_whole(oid)]
        problems = [f"the cache has other bytes under {oid}" for oid in damaged]
        if not output.path.exists():
            return problems
        files = self.files(output)
        if not files:
            problems.append("the cache has no listing of its files, so they cannot be compared with dvc.lock")
        for path, oid in files:
            if not path.is_file():
                problems.append(f"{path.name} is missing")
            elif md5_of(path) != oid:
                problems.append(f"{path.name} is not the file that dvc.lock records")
        return problems

    def heal(self, outputs: Sequence[Output]) -> None:
        """Deletes what is damaged, and restores it from a whole copy: in the workspace, the cache or the remote.

        Where none is whole, DVC will find the output missing and make it again.
        """
        from dvc.repo import lock_repo

        present = [output for output in outputs if output.path.exists()]
        with dvc_errors(), lock_repo(self._repo):
            for output in outputs:
                self._delete_damaged(output)
                if output.path.exists():
                    output.out.commit(relink=False)  # into the cache
            if self.has_remote:
                self._repo.fetch([str(output.path) for output in outputs], onerror=lambda *failed: None)
                for output in outputs:  # a listing that is known now, and what the remote has damaged
                    self._delete_damaged(output)
            whole = [str(each.path) for each in present if all(map(self.is_whole, self.objects(each)))]
            if whole:  # DVC would remove the rest of a folder that is not
                self._repo.checkout(whole, force=True)

    def _delete_damaged(self, output: Output) -> None:
        files = self.files(output)
        for oid in self.objects(output):
            if not self.is_whole(oid):
                self._cache_path(oid).unlink(missing_ok=True)
        for path, oid in files:
            if md5_of(path) != oid:
                path.unlink(missing_ok=True)

    @property
    def has_remote(self) -> bool:
        """Whether there is a default remote."""
        return bool(self._repo.config["core"].get("remote"))

    def broken_on_remote(self) -> list[str]:
        """Returns the names of the outputs' objects that have other bytes on the default remote. It reads all of them.

        UserError if there is no default remote. Objects that were never pushed are left out.
        """
        from dvc_data.hashfile.hash import file_md5
        from dvc_data.hashfile.hash_info import HashInfo

        if not self.has_remote:
            raise UserError(
                "verify --remote: there is no default remote. Set one up: dvc remote add --default NAME URL"
            )
        with dvc_errors():
            outputs, remote = self.outputs(), self._repo.cloud.get_remote_odb()
            unlisted = {HashInfo("md5", output.oid) for output in outputs if not self.files(output)}
            if unlisted:
                self._repo.cloud.pull(unlisted)

            def is_whole_or_absent(oid: str) -> bool:
                try:
                    return str(file_md5(remote.oid_to_path(oid), remote.fs)) == oid.removesuffix(LISTING)
                except FileNotFoundError:
                    return True

            oids = sorted({oid for output in outputs for oid in self.objects(output)})
            with ThreadPoolExecutor(READERS) as readers:
                whole = list(readers.map(is_whole_or_absent, oids))
        return [oid for oid, is_whole in zip(oids, whole, strict=True) if not is_whole]

    def remove_from_remote(self, oids: Collection[str]) -> None:
        """Removes the objects and the listings that name them, so that the next `dvc push` uploads them again."""
        from dvc_data.hashfile.db import get_index

        listings = {each.listing for each in self.outputs() if each.listing and {*oids} & {*self.objects(each)}}
        with dvc_errors():
            remote = self._repo.cloud.get_remote_odb()
            for oid in sorted({*oids} | listings):
                path = remote.oid_to_path(oid)
                if remote.fs.exists(path):
                    remote.fs.remove(path)
            with closing(get_index(remote)) as index:  # what DVC remembers of the remote's content
                index.clear()


def listed_files(folder: Path, listing: Path) -> list[TrackedFile]:
    """Returns the files of `folder` that the object `listing` names.

    UserError for an entry that is not the relative path of a file below `folder`, or whose hash is no MD5. DVC checks
    neither.
    """
    entries: Iterable[Any] = read_json_file(listing)
    found = []
    for entry in entries:
        name, oid = str(entry.get("relpath")), str(entry.get("md5"))
        if {"", ".", ".."} & set(name.split("/")) or (os.name == "nt" and re.search(r"[\\:]", name)):
            what = f"{name!r} is no path of a file in this folder"
        elif not _OBJECT.fullmatch(oid):
            what = f"{name!r} has the hash {oid!r}, which is no MD5"
        else:
            found.append((folder / name, oid))
            continue
        raise UserError(f"{listing}: this is DVC's listing of {folder}, but {what}. {_UNTRUSTED}")
    return found


def md5_of(path: Path) -> str:
    """Returns the MD5 of the file's bytes in hexadecimal digits, empty if it is no file."""
    from dvc_data.hashfile.hash import file_md5

    return str(file_md5(str(path))) if path.is_file() else ""


@contextmanager
def dvc_errors() -> Iterator[None]:
    """Turns DVC's errors into a UserError with its reason."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise UserError(f"DVC: {' '.join(str(error).split())}") from error
