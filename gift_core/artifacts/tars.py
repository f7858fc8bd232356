"""Tar files of samples in WebDataset's layout: files named `<key>.<extension>`, those of a sample side by side."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from gift_core.artifacts.contract import broken, require_file
from gift_core.work.publishing import write_atomically

# WebDataset's rule: the key is everything up to the first dot of the file's own name.
_KEY_AND_EXTENSION = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
_ODD_CHARACTER = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
MAX_HEADER_BYTES = 2**20  # of a name, or of the fields of a pax header
MAX_PADDING_BYTES = 2**24  # zeros after the last file
_SHOWN = 80  # letters of a name in an error
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
            stream.seek(self.offset)
            data = stream.read(self.size)
        if len(data) != self.size:
            raise tarfile.ReadError(f"there should be {self.size} bytes at {self.offset}, there are {len(data)}")
        return data


def index_tar(
    path: Path, skipped: list[str] | None = None, *, is_stray: Callable[[str], bool] = lambda name: False
) -> Iterator[tuple[str, dict[str, StoredFile]]]:
    """Yields (key, {extension: file}) of every sample in the order of the tar, without reading the files.

    Extensions are in lower case. Folders, hidden files, files whose name begins with "__" and files without an
    extension are skipped, as WebDataset does, and files whose name `is_stray`. The names of the files are added to
    `skipped`. A key may contain slashes.

    Raises:
        tarfile.TarError: the tar is damaged, cut short or compressed; it has links, devices, sparse files, or names
            that lead out of it; a sample has two files with one extension, or occurs twice.
        OSError: the tar cannot be opened or read.
    """
    skipped, seen = [] if skipped is None else skipped, set[str]()
    with path.open("rb") as stream:
        for key, members in groupby(_members(stream, skipped, is_stray), key=lambda member: member[0]):
            files: dict[str, StoredFile] = {}
            for _, extension, member in members:
                if extension in files:
                    raise tarfile.ReadError(f"sample {key} has two files .{extension}")
                files[extension] = StoredFile(path, member.offset_data, member.size)
            if key in seen:
                raise tarfile.ReadError(f"sample {key} occurs twice: the files of a sample should be side by side")
            seen.add(key)
            yield key, files


def stored_samples(path: Path, stage: str) -> Iterator[tuple[str, dict[str, StoredFile]]]:
    """Yields what index_tar yields of an artifact. ContractError if the tar is damaged; `stage` makes it again."""
    require_file(path, stage)
    try:
        yield from index_tar(path)
    except (tarfile.TarError, OSError) as error:
        raise broken(path, f"it should be a whole tar of samples, but reading it failed ({error})", stage) from error


def read_stored(file: StoredFile, stage: str) -> bytes:
    """Returns the bytes of a file in an artifact, also in threads. ContractError if the tar was cut short."""
    try:
        return file.read()
    except tarfile.ReadError as error:
        raise broken(file.tar, str(error), stage) from error


def read_tar(path: Path, stage: str) -> Iterator[tuple[str, dict[str, bytes], dict[str, StoredFile]]]:
    """Yields (key, {extension: bytes}, {extension: file}) of every sample in the order of the tar.

    The webdataset library reads and groups the samples. The headers are checked first, because the library allocates
    what they claim. ContractError if the tar is missing, damaged or cut short; `stage` makes it again.
    """
    from webdataset import tariterators  # imports torch

    indexed = list(stored_samples(path, stage))
    try:
        with path.open("rb") as stream:
            # a stream, not a URL: webdataset would interpret braces and colons in the name of a folder
            source = [{"url": path.name, "stream": stream}]
            samples = tariterators.group_by_keys(tariterators.tar_file_expander(source))
            for (key, files), sample in zip(indexed, samples, strict=True):
                yield key, {extension: sample[extension] for extension in files}, files
    except (tarfile.TarError, OSError, EOFError, LookupError, ValueError) as error:
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
                info = tarfile.TarInfo(f"{key}.{extension}")  # its defaults: mtime 0, uid and gid 0, no names
                info.size, info.mode = len(files[extension]), 0o644
                tar.addfile(info, io.BytesIO(files[extension]))


def image_extension(image: bytes) -> str:
    """Returns "png" or "jpg" by the first bytes of an encoded image. ValueError for any other format."""
    for beginning, extension in _IMAGE_BEGINNINGS.items():
        if image.startswith(beginning):
            return extension
    raise ValueError(f"neither PNG nor JPEG: the bytes begin with {image[:8]!r}")


def _members(
    stream: BinaryIO, skipped: list[str], is_stray: Callable[[str], bool]
) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Yields (key, extension, member) of the files that WebDataset sees, in their order."""
    for member in _sound_members(stream):
        found = _KEY_AND_EXTENSION.fullmatch(member.name)
        hidden = PurePosixPath(member.name).name.startswith((".", "__"))
        if found and not hidden and not is_stray(member.name):
            yield found[1], found[2].lower(), member
        else:
            skipped.append(member.name)


def _sound_members(stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yields the files of a tar, none of them read. tarfile.ReadError for anything that samples do not need.

    tarfile believes what headers claim: it would allocate their sizes, and follow sizes below zero in circles. Newer
    versions end without an error at such a size. So what follows the last member must be the end of the tar.
    """
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, _Headers(stream)), mode="r:") as tar:
            after_last = 0
            for member in tar:
                after_last = tar.offset
                if not member.isdir():
                    yield _require_plain(member, end)
            _require_end(stream, after_last, end)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:  # of tarfile
        raise tarfile.ReadError(f"bad header ({type(error).__name__})") from None


class _Headers:
    """A tar of which only headers are read: a read that is larger than a header may be is refused."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {size} bytes, more than {MAX_HEADER_BYTES}")
        return self._stream.read(size)


def _require_plain(member: tarfile.TarInfo, end: int) -> tarfile.TarInfo:
    name = ascii(member.name[:_SHOWN])
    if not member.isreg() or member.issparse():
        raise tarfile.ReadError(f"{name} is a link, a device or a sparse file, but samples are plain files")
    if not 0 <= member.size <= end - member.offset_data:
        rest = max(end - member.offset_data, 0)
        raise tarfile.ReadError(f"{name} claims {member.size} bytes, but {rest} are left: the tar is cut short")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise tarfile.ReadError(f"{name} leads out of the tar")
    if _ODD_CHARACTER.search(member.name):
        raise tarfile.ReadError(f"the name {name} is not UTF-8, or has control characters")
    return member


def _require_end(stream: BinaryIO, offset: int, end: int) -> None:
    """tarfile stops without an error at a bad header, at the end of a tar that was cut between two files, and at the
    end of the first of two tars that were joined."""
    stream.seek(offset)
    block = stream.read(tarfile.BLOCKSIZE)
    if block.strip(b"\0"):
        raise tarfile.ReadError(f"bad header at byte {offset}")
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("the mark at its end is missing: the tar is cut short")
    if end - offset > MAX_PADDING_BYTES or stream.read().strip(b"\0"):
        raise tarfile.ReadError("it goes on after its end: unpack tars that were joined, and make one of them")
