"""Tar files of samples in WebDataset's layout: files named `<key>.<extension>`, those of a sample side by side."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gift_core.artifacts.atomic import broken, require_file, write_atomically

# WebDataset's rule: the key is everything up to the first dot of the file's own name.
_KEY_AND_EXTENSION = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")


_IMAGE_BEGINNINGS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg"}


@dataclass(frozen=True)
class StoredFile:
    """A file inside an uncompressed tar: `size` bytes that start at byte `offset` of the tar."""

    tar: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Returns the file's bytes; safe to call from several threads. tarfile.ReadError if the tar is too short."""
        with self.tar.open("rb") as stream:
            return _read_range(stream, self)


def index_tar(path: Path) -> Iterator[tuple[str, dict[str, StoredFile]]]:
    """Yields (key, {extension: file}) of every sample in the order of the tar, without reading the files.

    Extensions are in lower case. Hidden files, files whose name begins with "__" and everything that is not a regular
    file are skipped, as WebDataset does. A key may contain slashes.

    Raises:
        tarfile.TarError: the tar is damaged, cut short or compressed, or a sample has two files with one extension.
        OSError: the tar cannot be opened or read.
    """
    with path.open("rb") as stream:
        yield from _index(path, stream)


def read_tar(path: Path, stage: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yields (key, {extension: bytes}) of every sample in the order of the tar, as the webdataset library groups them.

    ContractError if the tar is missing, damaged or cut short. `stage` is the one that makes it again.
    """
    from webdataset import tariterators  # imports torch

    require_file(path, stage)
    try:
        with path.open("rb") as stream:
            # a stream, not a URL: webdataset would interpret braces and colons in the name of a folder
            source = [{"url": path.name, "stream": stream}]
            for sample in tariterators.group_by_keys(tariterators.tar_file_expander(source)):
                yield sample["__key__"], {name: data for name, data in sample.items() if not name.startswith("__")}
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise broken(path, f"it should be a whole tar of samples, but reading it failed ({error})", stage) from error


def write_tar(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Writes samples (key, {extension: bytes}) in the order given. The same samples give the same bytes.

    Time, owner and mode are fixed, and a sample's extensions are sorted. A key must be unique, without dots and
    slashes, and must not begin with "__" (WebDataset would split or skip such names).
    """
    seen: set[str] = set()
    with write_atomically(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, files in samples:
            assert key and not set("./") & set(key) and not key.startswith("__"), f"{key!r} is not a WebDataset key"
            assert key not in seen, f"sample {key!r} is a duplicate"
            seen.add(key)
            for extension in sorted(files):
                _add_file(tar, f"{key}.{extension}", files[extension])


def image_extension(image: bytes) -> str:
    """Returns "png" or "jpg" by the first bytes of an encoded image. ValueError for any other format."""
    for beginning, extension in _IMAGE_BEGINNINGS.items():
        if image.startswith(beginning):
            return extension
    raise ValueError(f"neither PNG nor JPEG: the bytes begin with {image[:8]!r}")


def _index(path: Path, stream: BinaryIO) -> Iterator[tuple[str, dict[str, StoredFile]]]:
    for key, members in groupby(_members(stream), key=lambda member: member[0]):
        files: dict[str, StoredFile] = {}
        for _, extension, member in members:
            if extension in files:
                raise tarfile.ReadError(f"sample {key} has two files .{extension}")
            files[extension] = StoredFile(path, member.offset_data, member.size)
        yield key, files


def _members(stream: BinaryIO) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Yields (key, extension, member) of the files that WebDataset sees, in their order."""
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            found = _KEY_AND_EXTENSION.fullmatch(member.name)
            hidden = PurePosixPath(member.name).name.startswith((".", "__"))
            if member.isreg() and found and not hidden:
                yield found[1], found[2].lower(), member
        stream.seek(tar.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile stops at a bad header without an error
            raise tarfile.ReadError(f"bad header at byte {tar.offset}")


def _read_range(stream: BinaryIO, file: StoredFile) -> bytes:
    stream.seek(file.offset)
    data = stream.read(file.size)
    if len(data) != file.size:
        raise tarfile.ReadError(f"there should be {file.size} bytes at {file.offset}, there are {len(data)}")
    return data


def _add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(data))  # TarInfo's defaults: mtime 0, uid and gid 0, no names
