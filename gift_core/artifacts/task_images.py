"""The images of an ingested split where they lie: read one by one, in any order, so that none need be in memory."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gift_core.artifacts.atomic import broken, require_hash
from gift_core.artifacts.task import SPLITS, STAGE, read_task


@dataclass(frozen=True)
class StoredFile:
    """A file within an uncompressed tar: `size` bytes from `offset`."""

    tar: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Returns its bytes; several threads may read at once. ContractError where the tar ends before."""
        with self.tar.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size:
            raise broken(self.tar, f"{self.size} bytes should lie at {self.offset}, there are {len(data)}", STAGE)
        return data


@dataclass(frozen=True)
class StoredImage:
    """An encoded image of a task, still in its tar, and its label."""

    file: StoredFile
    label: int

    def read(self) -> bytes:
        """Returns the encoded image."""
        return self.file.read()


def index_task(folder: Path, split: str) -> list[StoredImage]:
    """Returns the split's images in the order and with the checks of artifacts.task.iterate_task, none of them read.

    ContractError for a changed tar, a bad label, a wrong count.
    """
    assert split in SPLITS, f"{split!r} is no split"
    info = read_task(folder)
    images: list[StoredImage] = []
    for name in info.shards(split):
        require_hash(folder / name, info.hashes[name], STAGE)
        for key, files in _samples(folder / name):
            images.append(_image(folder / name, key, files, len(info.class_names)))
    if len(images) != info.counts[split]:
        what = f"there should be {info.counts[split]} {split} images, there are {len(images)}"
        raise broken(folder / "task.json", what, STAGE)
    return images


def _samples(path: Path) -> Iterator[tuple[str, dict[str, StoredFile]]]:
    """Yields the tar's samples (key, {extension: where it lies}): neighbours whose names share what is before a dot."""
    key, files = "", dict[str, StoredFile]()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name, _, extension = member.name.partition(".")
                if name != key and files:
                    yield key, files
                    files = {}
                key = name
                files[extension] = StoredFile(path, member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        raise broken(path, f"it should be a whole tar of samples, but reading it failed ({error})", STAGE) from error
    if files:
        yield key, files


def _image(tar: Path, key: str, files: dict[str, StoredFile], classes: int) -> StoredImage:
    images = [file for extension, file in files.items() if extension != "cls"]
    label = files["cls"].read() if "cls" in files else b""
    if len(images) != 1 or not label.isdigit():
        raise broken(tar, f"sample {key} should be one image and its label, it is {', '.join(files)}", STAGE)
    if int(label) >= classes:
        raise broken(tar, f"sample {key} has label {int(label)}, task.json has {classes} classes", STAGE)
    return StoredImage(images[0], int(label))
