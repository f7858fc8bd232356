"""An ingested task: tars of images for the two splits, and task.json, which describes them.

A sample is an image and its label (.cls), or in a task of image-caption pairs its captions (.txt), one a line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt

from gift_core.artifacts.contract import broken, read, require_hashes, sha256_of, write_json
from gift_core.artifacts.tars import StoredFile, stored_samples, write_tar
from gift_core.work.publishing import build_folder

STAGE = "ingest"
SPLITS = ("train", "test")
CLASSES, PAIRS = "classes", "pairs"  # the kinds of task
_TARGETS = {CLASSES: "cls", PAIRS: "txt"}  # the extension of what belongs to an image
Captions = tuple[str, ...]
LabeledImage = tuple[bytes, str, int | Captions]  # encoded image, its extension (png, jpg), label or captions


Counts = Mapping[str, NonNegativeInt]
Name = Annotated[str, Field(min_length=1)]
Template = Annotated[str, Field(pattern=r"\{\}")]  # {} stands for the class name
Templates = Annotated[tuple[Template, ...], Field(min_length=1)]
TarName = Annotated[str, Field(pattern=r"^(train|test)-[0-9]{5}\.tar$")]


@dataclass(frozen=True)
class TaskInfo:
    """The content of task.json. A label is an index into class_names. Training uses the first template.

    counts: the number of images of each split. skipped: (file, reason) of images that could not be read. notes: one
    sentence each, what a reader of the results should know about the data. hashes: {name of the tar: SHA-256}.

    captions: the number of captions of each split, in a task of pairs alone. Its class_names are the training captions
    that stand for it in the vocabulary.
    """

    name: str
    class_names: Annotated[tuple[Name, ...], Field(min_length=2)]
    templates: Templates
    source: str
    counts: Counts = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    hashes: Mapping[TarName, str] = field(default_factory=dict)
    captions: Counts = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """CLASSES or PAIRS."""
        return PAIRS if self.captions else CLASSES

    def shards(self, split: str) -> list[str]:
        """Returns the names of the split's tars in their order."""
        return sorted(name for name in self.hashes if name.startswith(f"{split}-"))


@dataclass(frozen=True)
class StoredImage:
    """An encoded image of a task, still in its tar, and its label.

    In a task of pairs it has captions. Its label is that of the first one among the class_names, -1 if there is none.
    """

    file: StoredFile
    label: int
    captions: Captions = ()

    def read(self) -> bytes:
        """Returns the encoded image; safe to call from several threads."""
        return self.file.read()


def write_task(
    folder: Path,
    info: TaskInfo,
    train: Iterable[LabeledImage],
    test: Iterable[LabeledImage],
    *,
    images_per_shard: int,
    skipped: Sequence[tuple[str, str]] = (),
    notes: Iterable[str] = (),
) -> TaskInfo:
    """Writes the task's folder and returns `info` with counts, skipped files, further notes and hashes filled in.

    `skipped` and `notes` are read after both splits, so a source may add to them while it decodes.
    """
    counts, captions = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    with build_folder(folder) as temporary:
        for split, images in zip(SPLITS, (train, test), strict=True):
            remaining = iter(images)
            for index, first in enumerate(remaining):
                shard = chain([first], islice(remaining, images_per_shard - 1))  # written image by image
                write_tar(temporary / f"{split}-{index:05d}.tar", _samples(shard, split, counts, captions))
        written = dataclasses.replace(
            info,
            counts=counts,
            skipped=tuple(skipped),
            notes=(*info.notes, *notes),
            hashes={tar.name: sha256_of(tar) for tar in sorted(temporary.glob("*.tar"))},
            captions=captions if any(captions.values()) else {},
        )
        record = dataclasses.asdict(written)
        if not written.captions:
            del record["captions"]
        write_json(temporary / "task.json", record)
    return written


def _samples(
    images: Iterable[LabeledImage], split: str, counts: dict[str, int], captions: dict[str, int]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Counts the images and captions that it yields."""
    for image, extension, target in images:
        kind, text = (PAIRS, "\n".join(target)) if isinstance(target, tuple) else (CLASSES, str(target))
        yield f"{counts[split]:08d}", {extension: image, _TARGETS[kind]: text.encode()}
        counts[split] += 1
        captions[split] += len(target) if isinstance(target, tuple) else 0


def read_task(folder: Path) -> TaskInfo:
    """Returns the content of task.json. ContractError if it is invalid. The tars may be missing on this machine."""
    return read(TaskInfo, folder / "task.json", STAGE)


def index_task(folder: Path, split: str) -> list[StoredImage]:
    """Returns the split's images in their order, none of them read.

    ContractError for a missing or changed tar, and a sample without one image and one label.
    """
    info = read_task(folder)
    names = info.shards(split)
    require_hashes(folder, {name: info.hashes[name] for name in names}, STAGE)
    return index_tars(folder, info, names)


def index_tars(folder: Path, info: TaskInfo, names: Iterable[str]) -> list[StoredImage]:
    """Returns the images of some tars of the task, none of them read, no hash checked. ContractError as index_task."""
    numbers = {caption: number for number, caption in enumerate(info.class_names)}
    images = []
    for name in names:
        for key, files in stored_samples(folder / name, STAGE):
            try:
                text = files.pop(_TARGETS[info.kind]).read().decode()
                (image,) = files.values()
                captions = tuple(text.split("\n")) if info.kind == PAIRS else ()
                known = [numbers[caption] for caption in captions if caption in numbers]
                label = (known or [-1])[0] if captions else int(text)
            except (LookupError, ValueError) as error:
                problem = f"sample {key} should be one image and its .{_TARGETS[info.kind]} ({error!r})"
                raise broken(folder / name, problem, STAGE) from error
            images.append(StoredImage(image, label, captions))
    return images


def images_at(folder: Path, info: TaskInfo, split: str, positions: Iterable[int]) -> dict[int, StoredImage]:
    """Returns the images at `positions` of the split, which count from 0, by their position.

    Reads only the headers of the tars that have some of them, and checks no hash. ContractError for a damaged tar.
    """
    names = info.shards(split)
    per_tar = len(index_tars(folder, info, names[:1]))  # all tars but the last have as many images as the first
    wanted = sorted(set(positions))
    numbers = {position // per_tar for position in wanted}
    tars = {number: index_tars(folder, info, [names[number]]) for number in numbers}
    return {position: tars[position // per_tar][position % per_tar] for position in wanted}


def iterate_task(folder: Path, split: str) -> Iterator[tuple[bytes, int]]:
    """Yields (encoded image, label) of the split in their order. ContractError as index_task."""
    return ((image.read(), image.label) for image in index_task(folder, split))
