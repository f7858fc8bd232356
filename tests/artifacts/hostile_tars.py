"""Tars that programs do not write: headers that claim anything, and damaged copies of whole tars."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator, Sequence
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
    "larger than 64 bits": ((member("1.png", png(1), claimed=2**80),), f"'1.png' claims {2**80} bytes, but"),
    "negative": ((member("1.png", png(1), claimed=-1024), sample(2)), NEGATIVE),
    "huge in pax": ((pax([("size", str(HUGE))]), member("1.png", png(1))), f"'1.png' claims {HUGE} bytes, but"),
    "negative in pax": ((pax([("size", "-1024")]), member("1.png", png(1))), NEGATIVE),
    "digits in pax": ((pax([("size", "9" * 5000)]), member("1.png", png(1))), "bad header"),
    "huge pax": ((pax([("comment", "x")], claimed=HUGE),), f"a header claims {HUGE} bytes, more than 1048576"),
    "negative pax": ((pax([("comment", "x")], claimed=-512),), NEGATIVE),
    "huge long name": ((member("l", b"x", claimed=HUGE, kind=tarfile.GNUTYPE_LONGNAME),), "a header claims"),
    "pax in pax": ((pax([("comment", "x")]) * 5000, sample(1)), ""),
    "symlink": ((sample(1), header("2.png", kind=tarfile.SYMTYPE, link="/etc/passwd")), "'2.png' is a link, a device"),
    "hard link": ((sample(1), header("2.png", kind=tarfile.LNKTYPE, link="1.png")), "'2.png' is a link, a device"),
    "device": ((sample(1), header("2.png", kind=tarfile.CHRTYPE)), "'2.png' is a link, a device"),
    "pipe": ((sample(1), header("2.png", kind=tarfile.FIFOTYPE)), "'2.png' is a link, a device"),
    "sparse": ((pax([("GNU.sparse.map", "0,9"), ("GNU.sparse.size", "9")]), sample(1)), "a sparse file"),
    "absolute": ((member("/etc/1.png", png(1)),), "'/etc/1.png' leads out of the tar"),
    "above": ((member("a/../../1.png", png(1)),), "'a/../../1.png' leads out of the tar"),
    "not UTF-8": ((member("\udcff.png", png(1)),), "the name '\\udcff.png' is not UTF-8"),
    "control characters": ((member("\x1b[31m.png", png(1)),), "the name '\\x1b[31m.png' is not UTF-8, or has control"),
    "two labels": ((sample(1), member("0001.CLS", b"0")), "sample 0001 has two files .cls"),
    "sample twice": ((sample(1), sample(2), sample(1)), "sample 0001 occurs twice"),
    "sample twice in a row": ((sample(1), sample(1)), "sample 0001 has two files .png"),
    "joined": ((sample(1), bytes(1024), sample(2)), "it goes on after its end: unpack tars that were joined"),
}


def whole_tars() -> list[bytes]:
    """Tars of four samples in the formats that programs write, with short and long names."""
    return [_tar(kind, prefix) for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT) for prefix in ("", "x" * 120 + "/")]


def _tar(kind: int, prefix: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for number in range(4):
            for extension, data in (("png", png(number)), ("cls", b"1"), ("json", b'{"a": 1}')):
                info = tarfile.TarInfo(f"{prefix}é/{number:04d}.{extension}")
                info.size = len(data)
                info.pax_headers = {"comment": "x" * 30, "GNU.sparse.major": "1"} if number == 2 else {"mtime": "1.5"}
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


SIZES = (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\xff" * 4 + bytes(8), b"00000000000\0",
         b"\x80" + bytes(3) + b"\x10" + bytes(7))  # fmt: skip


def damaged_tars(count: int, *, seed: int) -> Iterator[bytes]:
    """Yields damaged tars. Most of their headers still have a right checksum, so that tarfile believes them."""
    source = random.Random(seed)
    whole = whole_tars()
    for _ in range(count):
        data = bytearray(source.choice(whole))
        for _ in range(source.choice((1, 2, 4))):
            _damage(data, source)
        if source.random() < 0.1:
            del data[source.randrange(len(data)) :]
        yield bytes(data)


def _damage(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    kind = source.randrange(4)
    if kind == 0:
        data[start + source.randrange(tarfile.BLOCKSIZE)] ^= 1 << source.randrange(8)
        return
    if kind == 1:
        data[start + 124 : start + 136] = source.choice(SIZES)
    elif kind == 2:
        data[start + 156] = source.choice(b"0123456789xgLKSDV\0")
    else:
        data[start + source.randrange(tarfile.BLOCKSIZE)] = source.randrange(256)
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + tarfile.BLOCKSIZE])
