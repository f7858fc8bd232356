"""The samples of a WebDataset tar: where each image lies in it, and its label. Nothing is unpacked."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath

from gift_core.errors import UserError, did_you_mean
from gift_core.tasks.found import Found
from gift_core.tasks.images import SUFFIXES

_KEY_AND_EXTENSION = re.compile(
    r"((?:.*/|)[^.]+)[.]([^/]*)"
)  # WebDataset's: all up to the first dot of the file's name
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_JSON = "json:"
Part = tuple[str, str, tarfile.TarInfo]  # the sample's key, the extension in small letters, where the file lies


def index_tar(path: Path, label: str, *, place: str) -> Iterator[Found]:
    """Yields the tar's samples in their order; `label` is an extension ("cls", "txt"), or "json:<key>".

    An image is read from its place in the tar when it is asked for. UserError for a compressed or damaged tar, and for
    a sample without one image and one label.
    """
    for key, parts in groupby(_read_parts(path, place), key=lambda part: part[0]):
        yield _sample(path, key, list(parts), label, place)


def _read_parts(path: Path, place: str) -> list[Part]:
    """The files that WebDataset sees, in their order; hidden ones, and those named __so, are left out."""
    with path.open("rb") as stream:
        _require_uncompressed(path, stream.read(6), place)
        stream.seek(0)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                parts = [part for member in tar for part in _part(member)]
                stream.seek(tar.offset)
                if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile stops at a bad header without a word
                    raise tarfile.ReadError(f"bad header at byte {tar.offset}")
        except tarfile.TarError as error:
            raise UserError(f"{place}: {path.name} is no whole tar ({error}). Copy or make it again.") from None
    return parts


def _part(member: tarfile.TarInfo) -> Iterator[Part]:
    found = _KEY_AND_EXTENSION.fullmatch(member.name)
    hidden = PurePosixPath(member.name).name.startswith((".", "__"))
    if member.isreg() and found and not hidden:
        yield found[1], found[2].lower(), member


def _sample(path: Path, key: str, parts: Sequence[Part], label: str, place: str) -> Found:
    files = {extension: member for _, extension, member in parts}
    images = [extension for extension in files if PurePosixPath(f"image.{extension}").suffix in SUFFIXES]
    if len(images) != 1:
        what = f"sample {key} of {path.name} holds {', '.join(files)}, and should hold one image"
        raise UserError(f"{place}: {what} ({', '.join(SUFFIXES)}) and its label, one after the other.")
    image = files[images[0]]
    text = _read_label(path, key, files, label, place)
    return Found(text, f"{path.name}/{key}.{images[0]}", partial(_read_range, path, image), image.size)


def _read_label(path: Path, key: str, files: Mapping[str, tarfile.TarInfo], label: str, place: str) -> str:
    where = f"sample {key} of {path.name}"
    extension = "json" if label.startswith(_JSON) else label
    if extension not in files:
        hint = did_you_mean(extension, files)
        raise UserError(f"{place}: {where} has no file .{extension}, where its label should be. {hint}")
    try:
        text = _read_range(path, files[extension]).decode("utf-8-sig").strip()
        if label.startswith(_JSON):
            text = _json_label(json.loads(text), label.removeprefix(_JSON))
    except ValueError as error:  # no UTF-8, no JSON, no such key
        raise UserError(f"{place}: the label of {where} cannot be read ({error}). Write a number or a name.") from None
    if not text:
        raise UserError(f"{place}: the label of {where} is empty. Write a number or a name.")
    return text


def _json_label(record: object, key: str) -> str:
    if not isinstance(record, dict) or key not in record:
        known = did_you_mean(key, record) if isinstance(record, dict) else "It should be an object."
        raise ValueError(f"no key {key!r} in its JSON: {known}")
    value = record[key]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{key!r} is {json.dumps(value)}")
    return str(value).strip()


def _read_range(tar: Path, member: tarfile.TarInfo) -> bytes:
    with tar.open("rb") as file:
        file.seek(member.offset_data)
        return file.read(member.size)


def _require_uncompressed(path: Path, start: bytes, place: str) -> None:
    for signature, command in _COMPRESSED.items():
        if start.startswith(signature):
            what = f"{path.name} is compressed, and images are read from their place in a plain tar"
            raise UserError(f"{place}: {what}. Unpack it ({command}), the images hardly shrink by it anyway.")
