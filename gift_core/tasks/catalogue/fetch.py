"""Data sets from where they are published, by torchvision's downloaders where those still work; else how to do it."""

from __future__ import annotations

import socket
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import build_folder, require_free_bytes
from gift_core.errors import UserError
from gift_core.tasks.catalogue.inventory import take_inventory
from gift_core.tasks.catalogue.row import CatalogueRow

SILENCE_S = 60.0  # so long a server may say nothing
_PACKED = (".gz", ".tgz", ".zip")
# What urllib, http and the unpackers raise; torchvision raises RuntimeError for a wrong checksum.
_FAILURES = (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


def fetch(row: CatalogueRow, path: Path) -> None:
    """Downloads the data set, unpacks it and puts it into `path`; does nothing where it is complete already.

    UserError where it cannot be downloaded (it says what to get and where to put it), where the disk is too small,
    where `path` holds something else already, and for a failing network. Then nothing is left behind.
    """
    if take_inventory(row, path).state == "complete":
        return
    place = f"gift data fetch {row.name}"
    if row.fetch == "by_hand":
        raise UserError(f"{place}: {row.title} cannot be downloaded by a program. {how_to_get(row, path)}")
    _require_empty(path, place)
    require_free_bytes(path, row.unpacked_bytes + sum(archive.bytes for archive in row.archives), place)
    with build_folder(path.resolve()) as unfinished:
        with _plain_errors(row, path, place):
            _download(row, unfinished)
        _remove_archives(row, unfinished)
        found = take_inventory(row, unfinished)
        if found.state != "complete":
            what = f"what was unpacked is {found.state}: {'; '.join(found.faults)}"
            raise UserError(f"{place}: {what}. {how_to_get(row, path)}")


def how_to_get(row: CatalogueRow, path: Path) -> str:
    """Returns in a few lines which archives to get, from where, and where to put what is in them."""
    archives = (f"  {each.name} ({-(-each.bytes // 10**6):,} MB) {each.url or ''}".rstrip() for each in row.archives)
    terms = (f"  page: {row.page}", f"  licence: {row.licence}")
    return "\n".join((row.by_hand or "By hand:", *archives, *terms, f"  put there: {path}/{row.layout}"))


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
def _plain_errors(row: CatalogueRow, path: Path, place: str) -> Iterator[None]:
    """Gives up on a silent server, and turns what a download can raise into one UserError."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_S)
    try:
        yield
    except _FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        what = f"{row.archive_names} could not be downloaded and unpacked ({reason})"
        raise UserError(f"{place}: {what}. Try again later. {how_to_get(row, path)}") from None
    finally:
        socket.setdefaulttimeout(before)


def _require_empty(path: Path, place: str) -> None:
    """Raises UserError where `path` holds files of the user's, which a download would replace."""
    if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        what = f"{path} holds something already, and it is not the whole data set"
        raise UserError(f"{place}: {what}. Look at it with `gift data status`, then complete it or move it away.")


def _remove_archives(row: CatalogueRow, folder: Path) -> None:
    """Removes what has been unpacked, so that the data set is neither stored nor hashed twice."""
    for archive in row.archives:
        if archive.name.endswith(_PACKED):
            for depth in ("", "*/", "*/*/"):
                for file in folder.glob(f"{depth}{archive.name}"):
                    file.unlink()
