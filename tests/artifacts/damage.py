"""Tools to damage artifacts with, and images to fill them."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gift_core.artifacts.contract import SEAL, write_table
from gift_core.errors import ContractError


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file of an image."""
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def png(gray: int) -> bytes:
    """A 2x2 PNG in one shade of gray."""
    return encoded(Image.new("RGB", (2, 2), (gray, gray, gray)))


def tree_hash(path: Path) -> dict[str, str]:
    """{relative path: sha256} of a file or a folder's files."""
    files = [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file())
    return {file.relative_to(path.parent).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the record in a JSON file."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def cut(path: Path, share: float = 0.5) -> None:
    """Keeps the first `share` of the file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def flip(path: Path, position: int = -1, bit: int = 0) -> None:
    """Flips one bit of the byte at `position`; the file keeps its size and its time."""
    data, times = bytearray(path.read_bytes()), path.stat()
    data[position] ^= 1 << bit
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def rewrite_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replaces the Parquet file by the changed table, as a whole file with other content."""
    table = change(pq.read_table(path))
    notes = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    write_table(path, table, {name: value for name, value in notes.items() if name != SEAL})


def broken_message(read: Callable[[], object], path: Path, stage: str) -> str:
    """The message of the ContractError that `read` raises; it must name the file and the stage that makes it again."""
    with pytest.raises(ContractError) as caught:
        read()
    message = str(caught.value)
    assert message.startswith(str(path)), message
    assert message.endswith(f"Recreate it with: dvc repro {stage}"), message
    return message
