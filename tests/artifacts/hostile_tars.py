"""Tars that programs do not write: headers that claim anything."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from tests.artifacts.damage import png

HUGE = 2**60
NEGATIVE = ""  # the words depend on the version of Python: tarfile itself refuses some sizes below zero


def header(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """A tar header of 512 bytes that claims `size` bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, data: bytes, *, claimed: int | None = None, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A file in a tar, or another kind of entry with data, that may claim another size than it has."""
    size = len(data) if claimed is None else claimed
    return header(name, size=size, kind=kind) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def sample(number: int) -> bytes:
    """A sample: an image and its label."""
    return member(f"{number:04d}.png", png(number)) + member(f"{number:04d}.cls", str(number % 2).encode())


def write_blocks(path: Path, *blocks: bytes) -> Path:
    """Writes the blocks and the end of a tar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(blocks) + bytes(2 * tarfile.BLOCKSIZE))
    return path


def pax(fields: Sequence[tuple[str, str]], *, claimed: int | None = None) -> bytes:
    """A pax header with these fields for the member that follows."""
    data = b"".join(_record(name, value) for name, value in fields)
    return member("pax", data, claimed=claimed, kind=tarfile.XHDTYPE)


def _record(name: str, value: str) -> bytes:
    text = f" {name}={value}\n"
    length = len(text) + len(str(len(text) + len(str(len(text)))))
    return f"{length}{text}".encode()


# name: (blocks, what the error says)
HOSTILE: dict[str, tuple[tuple[bytes, ...], str]] = {
    "huge": ((member("1.png", png(1), claimed=HUGE),), f"'1.png' claims {HUGE} bytes, but"),
    "negative": ((member("1.png", png(1), claimed=-1024), sample(2)), NEGATIVE),
    "huge in pax": ((pax([("size", str(HUGE))]), member("1.png", png(1))), f"'1.png' claims {HUGE} bytes, but"),
    "huge pax": ((pax([("comment", "x")], claimed=HUGE),), f"a header claims {HUGE} bytes, more than 1048576"),
    "pax in pax": ((pax([("comment", "x")]) * 5000, sample(1)), ""),
    "symlink": ((sample(1), header("2.png", kind=tarfile.SYMTYPE, link="/etc/passwd")), "'2.png' is a link, a device"),
    "sparse": ((pax([("GNU.sparse.map", "0,9"), ("GNU.sparse.size", "9")]), sample(1)), "a sparse file"),
    "above": ((member("a/../../1.png", png(1)),), "'a/../../1.png' leads out of the tar"),
    "control characters": ((member("\x1b[31m.png", png(1)),), "the name '\\x1b[31m.png' is not UTF-8, or has control"),
    "two labels": ((sample(1), member("0001.CLS", b"0")), "sample 0001 has two files .cls"),
    "sample twice": ((sample(1), sample(2), sample(1)), "sample 0001 occurs twice"),
    "joined": ((sample(1), bytes(1024), sample(2)), "it goes on after its end: unpack tars that were joined"),
}
