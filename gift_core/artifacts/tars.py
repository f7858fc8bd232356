"""Tar files of samples in WebDataset's layout: files named `<key>.<extension>`, those of a sample side by side."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.contract import broken, require_file
from gift_core.work.publishing import write_atomically

if TYPE_CHECKING:
    from PIL import Image

# WebDataset's rule: the key is everything up to the first dot of the file's own name.
_KEY_AND_EXTENSION = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
MAX_PADDING_BYTES = 2**24  # zeros after the last file: those of a tape are fewer
_FORMATS: dict[str, dict[str, Any]] = {"png": {"format": "PNG"}, "jpg": {"format": "JPEG", "quality": 95}}
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
        tarfile.TarError: the tar is damaged, cut short or compressed; a sample has two files with one extension, or
            occurs twice.
        OSError: the tar cannot be opened or read.
    """
    seen = set[str]()
    all_members = _members(path, [] if skipped is None else skipped, is_stray)
    for key, members in groupby(all_members, key=lambda member: member[0]):
        files: dict[str, StoredFile] = {}
        for _, extension, file in members:
            if extension in files:
                raise tarfile.ReadError(f"sample {key} has two files .{extension}")
            files[extension] = file
        if key in seen:
            raise tarfile.ReadError(f"sample {key} occurs twice: the files of a sample should be side by side")
        seen.add(key)
        yield key, files


def _members(path: Path, skipped: list[str], is_stray: Callable[[str], bool]) -> Iterator[tuple[str, str, StoredFile]]:
    """Yields (key, extension, file) of the files that WebDataset sees, in their order.

    tarfile stops without an error at a bad header, at the end of a tar that was cut between two files, and at the end
    of the first of two tars that were joined. So what follows the last file must be zeros.
    """
    with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        end = 0
        for member in tar:
            end = tar.offset
            named = _KEY_AND_EXTENSION.fullmatch(member.name)
            is_hidden = PurePosixPath(member.name).name.startswith((".", "__"))
            if member.isreg() and named and not is_hidden and not is_stray(member.name):
                yield named[1], named[2].lower(), StoredFile(path, member.offset_data, member.size)
            elif not member.isdir():
                skipped.append(member.name)
        stream.seek(end)
        rest = stream.read(MAX_PADDING_BYTES)
    if len(rest) < tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise tarfile.ReadError(f"after byte {end} there should be the end of the tar: it is damaged or cut short")


def stored_samples(path: Path, stage: str) -> Iterator[tuple[str, dict[str, StoredFile]]]:
    """Yields what index_tar yields of an artifact. ContractError if the tar is damaged; `stage` makes it again."""
    require_file(path, stage)
    try:
        yield from index_tar(path)
    except (tarfile.TarError, OSError) as error:
        raise broken(path, f"it should be a whole tar of samples, but reading it failed ({error})", stage) from error


def read_tar(path: Path, stage: str) -> Iterator[tuple[str, dict[str, StoredFile], dict[str, bytes]]]:
    """Yields (key, {extension: file}, {extension: bytes}) of every sample, as the webdataset library reads them.

    ContractError if the tar is missing or damaged; `stage` makes it again.
    """
    from webdataset import tariterators  # imports torch

    indexed = list(stored_samples(path, stage))
    with path.open("rb") as stream:
        # a stream, not a URL: webdataset would interpret braces and colons in the name of a folder
        source = [{"url": path.name, "stream": stream}]
        samples = tariterators.group_by_keys(tariterators.tar_file_expander(source))
        for (key, files), sample in zip(indexed, samples, strict=True):
            yield key, files, {extension: sample[extension] for extension in files}


def write_tar(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Writes samples (key, {extension: bytes}) in the order given. The same samples give the same bytes.

    Time, owner and mode are fixed, and a sample's extensions are sorted. A key must be unique, without dots and
    slashes, and must not begin with "__" (WebDataset would split or skip such names).
    """
    with write_atomically(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, files in samples:
            for extension in sorted(files):
                info = tarfile.TarInfo(f"{key}.{extension}")  # its defaults: mtime 0, uid and gid 0, no names
                info.size = len(files[extension])
                info.mode = 0o644
                tar.addfile(info, io.BytesIO(files[extension]))


def encode_image(image: Image.Image, image_format: str) -> bytes:
    """Returns the RGB image as PNG or JPEG bytes without metadata. The same image gives the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, **_FORMATS[image_format])
    return buffer.getvalue()


def image_extension(image: bytes) -> str:
    """Returns "png" or "jpg" by the first bytes of an encoded image. ValueError for any other format."""
    for beginning, extension in _IMAGE_BEGINNINGS.items():
        if image.startswith(beginning):
            return extension
    raise ValueError(f"neither PNG nor JPEG: the bytes begin with {image[:8]!r}")
