"""Downloads data sets from where they are published, or says how to get them by hand.

torchvision downloads, compares checksums and unpacks. It would begin an interrupted download again, so it gets another
function that copies the bytes of a URL (`_continued`). And it would write what a tar names outside of its folder, so
tars are unpacked with Python's filter `data`.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tarfile
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from gift_core.datasets.catalogue.inventory import CatalogueRow, copy_task, take_inventory
from gift_core.datasets.hub_dataset import fetch_hub
from gift_core.errors import UserError
from gift_core.work import os_errors
from gift_core.work.folder import work_folder
from gift_core.work.publishing import build_folder, require_free_bytes

TIMEOUT_S = 60.0  # without an answer from the server
FAILURES = (OSError, RuntimeError, HTTPException, tarfile.TarError)  # RuntimeError: torchvision's, a wrong checksum


def fetch(row: CatalogueRow, path: Path, work: Path, *, hub: bool = False) -> None:
    """Downloads and unpacks the data set into `path`. Does nothing if it is already complete.

    With `hub`, and where no archive can be downloaded, that is the hub's copy, if the row has one.

    An interrupted download stays in the folder `work` (gift_core.work.folder), and the next one continues it.

    Raises:
        UserError: the data set cannot be downloaded by a program (the message says what to get and where to put it),
            the disk is too small, `path` has other files, or the network fails. After an error nothing is in `path`.
    """
    if take_inventory(row, path).state == "complete":
        return
    location = f"gift data fetch {row.name}"
    use_copy = row.hub is not None and (hub or row.by_hand is not None or not row.archives)
    if row.by_hand and not use_copy:
        raise UserError(f"{location}: {row.title} cannot be downloaded by a program. {how_to_get(row, path)}")
    if hub and not use_copy:
        raise UserError(f"{location} --hub: the catalogue knows no copy with these counts. Leave out --hub.")
    if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        problem = f"{path} has files already, but not the complete data set"
        raise UserError(f"{location}: {problem}. See `gift data status`, then complete it or move it away.")
    if use_copy:
        fetch_hub(row.name, copy_task(row, path), work, Path())
        _require_complete(row, path, f"{location}: the copy in {path}", "Remove it.")
        return
    if not hasattr(tarfile, "data_filter"):
        problem = f"Python {platform.python_version()} unpacks tars unsafely. Use 3.10.12, 3.11.4, 3.12 or a newer one"
        raise UserError(f"{location}: {problem}. {how_to_get(row, path)}")
    require_free_bytes(path, row.unpacked_bytes + sum(archive.bytes for archive in row.archives), location)
    key = {"archives": [archive.model_dump(mode="json") for archive in row.archives]}
    with work_folder(work, key) as parts, build_folder(path) as temporary:
        try:
            _download(row, temporary, parts)
        except FAILURES as error:
            if os_errors.explain(error, doing=location) is not None:
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            problem = f"{row.archive_names} could not be downloaded and unpacked ({reason})"
            raise UserError(f"{location}: {problem}. Try again later. {how_to_get(row, path)}") from None
        for archive in row.archives:  # so that the data set is stored and hashed only once
            for file in temporary.rglob(archive.name):
                if file.suffix in (".gz", ".tar", ".tgz", ".zip"):
                    file.unlink()
        _require_complete(row, temporary, f"{location}: the unpacked data set", how_to_get(row, path))


def _require_complete(row: CatalogueRow, folder: Path, what: str, remedy: str) -> None:
    inventory = take_inventory(row, folder)
    if inventory.state != "complete":
        raise UserError(f"{what} is {inventory.state}: {'; '.join(inventory.faults)}. {remedy}")


def how_to_get(row: CatalogueRow, path: Path) -> str:
    """Returns a few lines that say which archives to get, from where, and where to put their content."""
    archives = []
    for archive in row.archives:
        megabytes = -(-archive.bytes // 10**6)  # rounded up
        archives.append(f"  {archive.name} ({megabytes:,} MB) {archive.url or ''}".rstrip())
    details: tuple[str, ...] = (f"  page: {row.page}", f"  license: {row.license}")
    if row.hub:
        details += (f"  or a copy: gift data fetch {row.name} --hub ({row.hub.repository})",)
    return "\n".join((row.by_hand or "By hand:", *archives, *details, f"  unpack to: {path}/{row.layout}"))


def _download(row: CatalogueRow, folder: Path, parts: Path) -> None:
    """Has torchvision download and unpack the archives. What is not complete yet is in `parts`."""
    from torchvision import datasets
    from torchvision.datasets import utils

    copy, unpack = utils._urlretrieve, tarfile.TarFile.extraction_filter
    utils._urlretrieve = partial(_continued, parts)
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        if row.torchvision:
            getattr(datasets, row.torchvision)(folder, download=True)
            return
        for archive in row.archives:
            utils.download_and_extract_archive(archive.url, folder, filename=archive.name, md5=archive.md5)
    finally:
        utils._urlretrieve, tarfile.TarFile.extraction_filter = copy, unpack


def _continued(parts: Path, url: str, filename: str | Path, chunk_size: int = 1 << 18) -> None:
    """Writes the bytes at `url` into a file, the first of them from an interrupted download of the same bytes.

    A server that does not continue (RFC 9110, 14.2) sends them all again. The caller compares the checksum.
    """
    from tqdm import tqdm

    address = url.partition("://")[2]  # torchvision tries again with http after an error of https
    part = parts / hashlib.sha256(address.encode()).hexdigest()[:16]
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "gift"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        answer = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # it has all bytes already, or those of another file: the next run begins again
        raise
    mode = "ab" if answer.status == HTTPStatus.PARTIAL_CONTENT else "wb"
    bar = tqdm(total=answer.length, unit="B", unit_scale=True, desc=Path(filename).name)
    with answer, part.open(mode) as file, bar:
        while chunk := answer.read1(chunk_size):
            file.write(chunk)
            bar.update(len(chunk))
    if answer.length:
        problem = f"the connection broke off, {answer.length:,} bytes are missing; the next run continues there"
        raise ConnectionError(problem)
    shutil.move(part, filename)  # perhaps to another disk
