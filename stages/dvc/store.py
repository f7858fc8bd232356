"""DVC's objects: whether each has the content that its name says, in the cache, the workspace and the default remote.

An object is named after the MD5 of its bytes. DVC looks at names, times and sizes only: it does not notice changed
bytes in the cache, and it does not upload an object while the remote has one of that name, or the listing (`.dir`) of
its folder.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.errors import UserError
from gift_core.progress import progress_bar
from gift_core.team.gate import STOPPED_MERGE
from gift_core.untrusted import read_json_file

from ..code_files import checked_files
from . import private_dvc

JOBS = 16  # objects that are read from the remote or sent to it at the same time
LISTING = ".dir"
_OBJECT = re.compile(r"[0-9a-f]{32}")
_UNTRUSTED = "Nothing was written. DVC would follow it, so take dvc.lock and .dvc files only from people you trust."


@dataclass(frozen=True)
class Output:
    """An output `out` of DVC that dvc.lock or a .dvc file records. `stage` makes it, and is empty for raw data.

    `oid` is the name of its object, of a folder that of the listing of its files.
    """

    out: Any
    path: Path
    stage: str
    oid: str


class DvcStore:
    """The outputs of the DVC project in `root`. UserError with DVC's reason where DVC fails."""

    def __init__(self, root: Path) -> None:
        with dvc_errors():
            from dvc.repo import Repo

            self._repo: Any = Repo(str(root))
            self._odb: Any = self._repo.cache.local

    def outputs(self) -> list[Output]:
        """Returns every output with a recorded hash, sorted by path.

        UserError for a hash that is none, an output outside the project, and as in `files`.
        """
        outputs = []
        with dvc_errors():
            for out in self._repo.index.outs:
                if not (out.use_cache and out.hash_info and out.hash_name == "md5"):
                    continue
                path, oid = Path(out.fs_path), str(out.hash_info.value)
                if not _OBJECT.fullmatch(oid.removesuffix(LISTING)):
                    raise UserError(f"{path}: its recorded hash {oid!r} is no MD5. {_UNTRUSTED}")
                if not out.is_in_repo:
                    raise UserError(f"{path}: this output of {out.stage.relpath} is outside the project. {_UNTRUSTED}")
                outputs.append(Output(out, path, str(getattr(out.stage, "name", None) or ""), oid))
                self.files(outputs[-1])
        return sorted(outputs, key=lambda output: output.path)

    def files(self, output: Output) -> list[tuple[Path, str]]:
        """Returns the files of the output, each with the name of its object.

        Of a folder none, while the cache has no whole listing of it. UserError for an entry that is not the relative
        path of a file below the folder, or whose hash is no MD5. DVC checks neither.
        """
        if not output.oid.endswith(LISTING):
            return [(output.path, output.oid)]
        files, listing = list[tuple[Path, str]](), self._cache_path(output.oid)
        for entry in read_json_file(listing) if self.is_whole(output.oid) else ():
            name, oid = str(entry.get("relpath")), str(entry.get("md5"))
            leads_out = {"", ".", ".."} & set(name.split("/")) or (os.name == "nt" and re.search(r"[\\:]", name))
            if leads_out or not _OBJECT.fullmatch(oid):
                fault = f"{name!r} is no path of a file in this folder, or its hash {oid!r} is no MD5"
                raise UserError(f"{listing}: this is DVC's listing of {output.path}, but {fault}. {_UNTRUSTED}")
            files.append((output.path / name, oid))
        return files

    def objects(self, output: Output) -> list[str]:
        """Returns the names of all objects of the output that are known."""
        return list(dict.fromkeys([output.oid, *(oid for _, oid in self.files(output))]))

    def is_whole(self, oid: str) -> bool:
        """Whether the cache has the object with the content that its name says."""
        return private_dvc.md5_of(self._cache_path(oid)) == oid.removesuffix(LISTING)

    def _cache_path(self, oid: str) -> Path:
        return Path(self._odb.oid_to_path(oid))

    def problems(self, output: Output) -> list[str]:
        """Returns what is wrong with the output in the cache and, if it is there, in the workspace."""
        problems, files = [*self._damaged(output).values()], self.files(output)
        if output.path.exists() and not files:
            problems.append("the cache has no listing of its files, so they cannot be compared with dvc.lock")
        absent = [path for path, _ in files if not path.is_file()] if output.path.exists() else []
        return problems + [f"{path.name} is missing" for path in absent]

    def _damaged(self, output: Output) -> dict[Path, str]:
        """Returns {file of the cache or the workspace with other bytes than its hash: a sentence about it}."""
        cached = {self._cache_path(oid): oid for oid in self.objects(output) if not self.is_whole(oid)}
        changed = [path for path, oid in self.files(output) if private_dvc.md5_of(path) != oid]
        faults = {path: f"the cache has other bytes under {oid}" for path, oid in cached.items()}
        faults |= {path: f"{path.name} is not the file that dvc.lock records" for path in changed}
        return {path: fault for path, fault in faults.items() if path.is_file()}

    def heal(self, outputs: Sequence[Output]) -> None:
        """Deletes what is damaged, and restores it from a whole copy: in the workspace, the cache or the remote.

        Where none is whole, DVC will find the output missing and make it again. UserError if the remote fails.
        """
        from dvc.repo import lock_repo

        present = [output for output in outputs if output.path.exists()]
        with _transfers("verify --heal", "restored") as failed, dvc_errors(), lock_repo(self._repo):
            for output in outputs:
                for path in self._damaged(output):
                    path.unlink()
                if output.path.exists():
                    output.out.commit(relink=False)  # into the cache
            if self._repo.config["core"].get("remote"):
                failed += self._fetch_objects(outputs)
                for path in [path for output in outputs for path in self._damaged(output)]:  # with all listings
                    path.unlink()
            whole = [str(output.path) for output in present if all(map(self.is_whole, self.objects(output)))]
            if whole:  # DVC would remove the rest of a folder that is not
                self._repo.checkout(whole, force=True)

    def fetch(self) -> None:
        """Pulls the recorded outputs and the run cache. UserError if a transfer fails.

        What the remote does not have, or has damaged, is left out and is no failure: see `missing`.
        """
        from dvc.repo import lock_repo

        with _transfers("get", "pulled") as failed:
            with lock_repo(self._repo):
                failed += self._fetch_objects(self.outputs())
                if not failed and self._repo.cloud.get_remote_odb().fs.protocol not in ("http", "https"):
                    private_dvc.copy_run_cache(self._repo, from_remote=True, jobs=JOBS)
            if not failed:
                outs, incomplete = self._repo.index.outs, self.missing()
                outs = [out.fs_path for out in outs if out.use_cache and out.hash_info]
                whole = [path for path in outs if Path(path) not in incomplete]
                if whole:
                    self._repo.pull(whole, jobs=JOBS, allow_missing=True)  # into the workspace

    def missing(self) -> list[Path]:
        """Returns the outputs that the cache does not have, or only parts of. Imports are left out."""
        outputs = [output for output in self.outputs() if not output.out.stage.is_import]
        return [
            output.path for output in outputs if not all(self._cache_path(oid).exists() for oid in self.objects(output))
        ]

    def unshared_inputs(self) -> dict[str, bool]:
        """Returns {input of a stage below the root that is not recorded as an output: whether it is on this machine}.

        No push and no pull brings them. Files that settings name are inputs, too. Those of stages without all of their
        outputs are left out.
        """
        root = Path(self._repo.root_dir)
        recorded = {Path(out.fs_path) for out in self._repo.index.outs}
        finished = (stage for stage in self._repo.index.stages if all(out.exists for out in stage.outs))
        inputs = {Path(dep.fs_path): bool(dep.exists) for stage in finished for dep in stage.deps}
        inputs |= {root / name: (root / name).exists() for name in checked_files(root)}
        unshared = [path for path in sorted(inputs) if recorded.isdisjoint({path, *path.parents})]
        return {os.path.relpath(path, root): inputs[path] for path in unshared}

    def _fetch_objects(self, outputs: Sequence[Output], *, rounds: int = 2) -> list[Exception]:
        """Gets into the cache what it lacks of the outputs, many objects at a time. Returns what failed.

        The first round gets files and the listings of folders, the second the files in those listings.

        DVC would wait for the listing of each folder, over a connection of its own, and then for each folder.
        """
        failed: list[Exception] = []
        for _ in range(rounds):
            known = dict.fromkeys(oid for output in outputs if not output.out.remote for oid in self.objects(output))
            oids = [oid for oid in known if not self._cache_path(oid).exists()]
            if oids and not failed:
                with progress_bar(len(oids), "files") as bar:
                    failed = private_dvc.fetch_objects(self._repo, oids, jobs=JOBS, advance=bar.update)
        return failed

    def push(self) -> None:
        """Pushes the outputs in use, then the entries of the run cache that the remote lacks. UserError as above."""
        with _transfers("share", "pushed"):
            self._repo.push(jobs=JOBS)
            private_dvc.copy_run_cache(self._repo, from_remote=False, jobs=JOBS)

    def broken_on_remote(self) -> tuple[list[str], int]:
        """Returns the names of the outputs' objects that have other bytes on the default remote. It reads all of them.

        Also the number of objects that are not there, such as those that were never pushed.
        """
        with _transfers("verify --remote", "read") as failed:
            outputs, remote = self.outputs(), self._repo.cloud.get_remote_odb()
            failed += self._fetch_objects([output for output in outputs if not self.files(output)], rounds=1)
            oids = sorted({oid for output in outputs for oid in self.objects(output)})
            with ThreadPoolExecutor(JOBS) as readers:
                hashes = list(readers.map(lambda oid: private_dvc.md5_of(remote.oid_to_path(oid), remote.fs), oids))
        broken = [oid for oid, md5 in zip(oids, hashes, strict=True) if md5 not in ("", oid.removesuffix(LISTING))]
        return broken, hashes.count("")

    def replace_on_remote(self, oids: Sequence[str]) -> list[str]:
        """Uploads those of the objects that are whole here, over those of the remote. Returns the others."""
        with _transfers("verify --remote --heal", "replaced"):
            remote = self._repo.cloud.get_remote_odb()
            for oid in filter(self.is_whole, oids):
                remote.fs.put_file(self._odb.oid_to_path(oid), remote.oid_to_path(oid))
        return [oid for oid in oids if not self.is_whole(oid)]


@contextmanager
def _transfers(command: str, done: str) -> Iterator[list[Exception]]:
    """Raises a UserError where something fails inside, with the most frequent reason and what to do about it.

    Yields a list for what fails. What DVC only logs, and the error that ends the block, are added to it.
    """
    from gift_core.doctor.storage import remedy_of

    with private_dvc.logged_failures() as failed:
        try:
            yield failed
        except UserError:
            raise
        except Exception as error:  # each kind of remote has its own; after what is logged, DVC's is a number of files
            failed.extend([] if failed else [error])
    if failed:
        reasons = Counter(" ".join(f"{type(failure).__name__}: {failure}".split()) for failure in failed)
        reason = reasons.most_common(1)[0][0].rstrip(".")
        words = [f"gift {command}: not everything was {done}: {reason}.", remedy_of(reason)]
        raise UserError(" ".join(filter(None, [*words, f"What has arrived is kept: run gift {command} again."])))


@contextmanager
def dvc_errors() -> Iterator[None]:
    """Turns DVC's errors into a UserError with its reason."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        reason = " ".join(str(error).split())
        if "dvc.lock" in reason and "corrupted" in reason:
            reason += f". {STOPPED_MERGE}"
        raise UserError(f"DVC: {reason}") from error
