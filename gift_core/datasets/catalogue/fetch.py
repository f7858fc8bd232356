"""Downloads data sets from where they are published, or says how to get them by hand.

torchvision downloads and unpacks. It would begin an interrupted download again, so it gets another function that copies
the bytes of a URL (`_continued`). It would also write what a tar names outside of its folder, so tars are unpacked with
Python's `data` filter.
"""

from __future__ import annotations

import hashlib
import platform
import socket
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from gift_core import os_errors
from gift_core.datasets.catalogue.inventory import take_inventory
from gift_core.datasets.catalogue.row import CatalogueRow
from gift_core.errors import UserError
from gift_core.work.folder import work_folder
from gift_core.work.publishing import build_folder, require_free_bytes

TIMEOUT_S = 60.0  # without an answer from the server, or with less than SLOWEST
SLOWEST = 1000  # bytes a second
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416  # HTTP
_PACKED = (".gz", ".tgz", ".zip")
# Raised by urllib, http and the unpackers. torchvision raises RuntimeError for a wrong checksum.
_FAILURES = (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


def fetch(row: CatalogueRow, path: Path, work: Path) -> None:
    """Downloads and unpacks the data set into `path`. Does nothing if it is already complete.

    An interrupted download stays in the folder `work` (gift_core.work.folder), and the next one continues it.

    Raises:
        UserError: the data set cannot be downloaded by a program (the message says what to get and where to put it),
            the disk is too small, `path` has other files, or the network fails. After an error nothing is in `path`.
    """
    if take_inventory(row, path).state == "complete":
        return
    location = f"gift data fetch {row.name}"
    if row.fetch == "by_hand":
        raise UserError(f"{location}: {row.title} cannot be downloaded by a program. {how_to_get(row, path)}")
    if not hasattr(tarfile, "data_filter"):
        what = f"Python {platform.python_version()} cannot keep a tar from writing outside of its folder"
        raise UserError(f"{location}: {what}. Use 3.10.12, 3.11.4, 3.12 or a later one. {how_to_get(row, path)}")
    _require_empty(path, location)
    require_free_bytes(path, row.unpacked_bytes + sum(archive.bytes for archive in row.archives), location)
    key = {"archives": [archive.model_dump(mode="json") for archive in row.archives]}
    with work_folder(work, key) as parts, build_folder(path) as unfinished:
        with _plain_errors(row, path, location), _safe_torchvision(parts):
            _download(row, unfinished)
        _remove_archives(row, unfinished)
        found = take_inventory(row, unfinished)
        if found.state != "complete":
            what = f"the unpacked data set is {found.state}: {'; '.join(found.faults)}"
            raise UserError(f"{location}: {what}. {how_to_get(row, path)}")


def how_to_get(row: CatalogueRow, path: Path) -> str:
    """Returns a few lines that say which archives to get, from where, and where to put their content."""
    archives = (f"  {each.name} ({-(-each.bytes // 10**6):,} MB) {each.url or ''}".rstrip() for each in row.archives)
    details = (f"  page: {row.page}", f"  license: {row.license}")
    return "\n".join((row.by_hand or "By hand:", *archives, *details, f"  unpack to: {path}/{row.layout}"))


def _download(row: CatalogueRow, folder: Path) -> None:
    if row.fetch == "torchvision":
        _torchvision_classes()[row.name](folder, download=True)
        return
    from torchvision.datasets.utils import download_and_extract_archive

    for archive in row.archives:
        download_and_extract_archive(archive.url, folder, filename=archive.name, md5=archive.md5)


def _torchvision_classes() -> Mapping[str, Callable[..., Any]]:
    from torchvision import datasets

    return {
        "aircraft": datasets.FGVCAircraft,
        "caltech101": datasets.Caltech101,
        "cifar100": datasets.CIFAR100,
        "dtd": datasets.DTD,
        "eurosat": datasets.EuroSAT,
        "flowers": datasets.Flowers102,
        "food": datasets.Food101,
        "mnist": datasets.MNIST,
        "oxford_pet": datasets.OxfordIIITPet,
    }


@contextmanager
def _safe_torchvision(parts: Path) -> Iterator[None]:
    """Has torchvision keep in `parts` what is not complete, and unpack tars into their folder alone."""
    from torchvision.datasets import utils

    copy, unpack = utils._urlretrieve, tarfile.TarFile.extraction_filter
    utils._urlretrieve = partial(_continued, parts)
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
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
    headers = {"User-Agent": "gift", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        answer = urlopen(Request(url, headers=headers))
    except HTTPError as error:
        if error.code != RANGE_NOT_SATISFIABLE:
            raise
        part.unlink()  # it has all bytes already, or those of another file
        answer = urlopen(Request(url, headers={"User-Agent": "gift"}))
    with answer:
        is_continued = answer.status == PARTIAL_CONTENT
        done = start if is_continued else 0
        total = None if answer.length is None else done + answer.length
        with (
            part.open("ab" if is_continued else "wb") as file,
            tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=Path(filename).name) as bar,
        ):
            received, since = 0, time.monotonic()
            while chunk := answer.read1(chunk_size):
                file.write(chunk)
                bar.update(len(chunk))
                received += len(chunk)
                if (seconds := time.monotonic() - since) > TIMEOUT_S:
                    if received < SLOWEST * seconds:
                        raise TimeoutError(f"{received} bytes in {seconds:.0f} s; the next run continues there")
                    received, since = 0, time.monotonic()
    if total is not None and part.stat().st_size < total:
        what = f"the connection broke off at {part.stat().st_size:,} of {total:,} bytes; the next run continues there"
        raise ConnectionError(what)
    part.replace(filename)


@contextmanager
def _plain_errors(row: CatalogueRow, path: Path, location: str) -> Iterator[None]:
    """Sets a timeout, and turns what a download can raise into one UserError. A full disk is not one of these."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    except _FAILURES as error:
        if os_errors.explain(error, doing=location) is not None:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        what = f"{row.archive_names} could not be downloaded and unpacked ({reason})"
        raise UserError(f"{location}: {what}. Try again later. {how_to_get(row, path)}") from None
    finally:
        socket.setdefaulttimeout(before)


def _require_empty(path: Path, location: str) -> None:
    """Raises UserError if `path` has files, which a download would replace."""
    if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        what = f"{path} has files already, but not the complete data set"
        raise UserError(f"{location}: {what}. See `gift data status`, then complete it or move it away.")


def _remove_archives(row: CatalogueRow, folder: Path) -> None:
    """Removes the archives after unpacking, so that the data set is stored and hashed only once."""
    for archive in row.archives:
        if archive.name.endswith(_PACKED):
            for depth in ("", "*/", "*/*/"):
                for file in folder.glob(f"{depth}{archive.name}"):
                    file.unlink()
