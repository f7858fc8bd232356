"""An ingested task: tars of images for the two splits, and task.json, which describes them.

A sample is an image and its label (.cls), or in a task of image-caption pairs its captions (.txt), one a line.
"""

from __future__ import annotations

import dataclasses
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import broken, read_json, require_fields, require_hash, sha256_of, write_json
from gift_core.artifacts.tars import StoredFile, index_tar, write_tar
from gift_core.work.publishing import build_folder

STAGE = "ingest"
SPLITS = ("train", "test")
_TAR = re.compile(r"(train|test)-[0-9]{5}\.tar")
_SHOWN = 60  # letters of a wrong value in an error
CLASSES, PAIRS = "classes", "pairs"  # the kinds of task
_TARGETS = {CLASSES: "cls", PAIRS: "txt"}  # the extension of what belongs to an image
Captions = tuple[str, ...]
LabeledImage = tuple[bytes, str, int | Captions]  # encoded image, its extension (png, jpg), label or captions
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str, "class_names": list, "templates": list, "source": str, "counts": dict, "skipped": list, "notes": list,
    "hashes": dict,
}  # fmt: skip


@dataclass(frozen=True)
class TaskInfo:
    """The content of task.json. A label is an index into class_names. Training uses the first template.

    counts: the number of images of each split. skipped: (file, reason) of images that could not be read. notes: one
    sentence each, what a reader of the results should know about the data. hashes: {name of the tar: SHA-256}.

    captions: the number of captions of each split, in a task of pairs alone. Its class_names are the training captions
    that stand for it in the vocabulary.
    """

    name: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    source: str
    counts: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, int] = field(default_factory=dict)

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
        """Returns the encoded image; safe to call from several threads. ContractError if the tar was cut short."""
        try:
            return self.file.read()
        except tarfile.ReadError as error:
            raise broken(self.file.tar, str(error), STAGE) from error


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

    `skipped` and `notes` are read after both splits, so a source may add to them while it decodes. ContractError unless
    there are at least two classes with unique names, and templates that contain {}.
    """
    _require_sound(folder / "task.json", info)
    counts, captions = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)

    def counted(split: str, images: Iterable[LabeledImage]) -> Iterator[LabeledImage]:
        for image in images:
            counts[split] += 1
            captions[split] += len(image[2]) if isinstance(image[2], tuple) else 0
            yield image

    with build_folder(folder) as unfinished:
        for split, images in zip(SPLITS, (train, test), strict=True):
            _write_split(unfinished, split, counted(split, images), images_per_shard, len(info.class_names))
        written = dataclasses.replace(
            info,
            counts=counts,
            skipped=tuple(skipped),
            notes=(*info.notes, *notes),
            hashes={tar.name: sha256_of(tar) for tar in sorted(unfinished.glob("*.tar"))},
            captions=captions if any(captions.values()) else {},
        )
        write_json(unfinished / "task.json", _record(written))
    return written


def _record(info: TaskInfo) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(info).items() if name != "captions" or value}


def read_task(folder: Path) -> TaskInfo:
    """Returns the content of task.json. ContractError if it is invalid, or it or a tar it names is missing."""
    info = _read_description(folder)
    for name in info.hashes:
        if not (folder / name).is_file():
            raise broken(folder / name, "the file is missing, but task.json names it", STAGE)
    return info


def _read_description(folder: Path) -> TaskInfo:
    path = folder / "task.json"
    record = read_json(path, STAGE)
    require_fields(path, record, _FIELDS, STAGE)
    skipped = [require_texts(path, "skipped", entry, count=2) for entry in record["skipped"]]
    info = TaskInfo(
        **{name: record[name] for name in ("name", "source", "counts", "hashes")},
        class_names=require_texts(path, "class_names", record["class_names"]),
        templates=require_texts(path, "templates", record["templates"]),
        skipped=tuple((file, reason) for file, reason in skipped),
        notes=require_texts(path, "notes", record["notes"]),
        captions=record.get("captions", {}),
    )
    _require_sound(path, info)
    _require_counts(path, info)
    return info


def read_own_task(folder: Path) -> TaskInfo:
    """Returns read_task of data/1_tasks/<task>. ContractError, too, if task.json is of another task."""
    return _require_own(folder, read_task(folder))


def describe_own_task(folder: Path) -> TaskInfo:
    """Returns what read_own_task returns. The tars may be missing on this machine."""
    return _require_own(folder, _read_description(folder))


def _require_own(folder: Path, info: TaskInfo) -> TaskInfo:
    if info.name != folder.name:
        what = f"it should be of task {folder.name!r}, it is of {info.name!r}: another task was put here"
        raise broken(folder / "task.json", what, STAGE)
    return info


def require_texts(path: Path, field: str, value: Any, *, count: int | None = None) -> tuple[str, ...]:
    """Returns the list `value` of the file `path`. ContractError unless it holds texts, `count` if that is given."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        what = "lists of texts" if count is None else f"lists of {count} texts"
        raise broken(path, f"{field} should hold {what}, one is {_short(value)}", STAGE)
    for each in value:
        if not isinstance(each, str) or not is_utf8(each):
            raise broken(path, f"{field} should hold texts, one is {_short(each)}", STAGE)
    return tuple(value)


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def is_utf8(text: str) -> bool:
    """Returns whether a text can be written: JSON can hold halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_counts(path: Path, info: TaskInfo) -> None:
    given = {"counts": info.counts, **({"captions": info.captions} if info.captions else {})}
    for name, counts in given.items():
        if not isinstance(counts, dict) or sorted(counts) != sorted(SPLITS):
            named = ", ".join(map(str, counts)) if isinstance(counts, dict) else ascii(counts)[:_SHOWN]
            raise broken(path, f"{name} should name train and test, they name {named or 'none'}", STAGE)
        for split, count in counts.items():
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise broken(path, f"{name} of {split} should be a whole number, it is {_short(count)}", STAGE)
    for tar, digest in info.hashes.items():
        if not _TAR.fullmatch(tar) or not isinstance(digest, str):
            raise broken(path, f"hashes should name tars (train-00000.tar), it has {_short(tar)}", STAGE)


def index_task(folder: Path, split: str) -> list[StoredImage]:
    """Returns the split's images in their order, none of them read.

    ContractError for a changed tar, a sample without one image and one label, an unknown label, a wrong count.
    """
    assert split in SPLITS, f"{split!r} is not a split"
    info = read_task(folder)
    images: list[StoredImage] = []
    for name in info.shards(split):
        require_hash(folder / name, info.hashes[name], STAGE)
        images.extend(_index_shard(folder / name, info))
    if len(images) != info.counts[split]:
        what = f"there should be {info.counts[split]} {split} images, there are {len(images)}"
        raise broken(folder / "task.json", what, STAGE)
    return images


def index_tars(folder: Path, info: TaskInfo, names: Iterable[str]) -> list[StoredImage]:
    """Returns the images of some tars of the task, none of them read, no hash checked. ContractError as index_task."""
    return [image for name in names for image in _index_shard(folder / name, info)]


def images_at(folder: Path, info: TaskInfo, split: str, positions: Iterable[int]) -> dict[int, StoredImage]:
    """Returns the images at `positions` of the split, which count from 0, by their position.

    Reads only the headers of the tars that have some of them, and checks no hash. ContractError for a damaged tar, and
    if there is no such image.
    """
    names, wanted = info.shards(split), sorted(set(positions))
    starts = [_first_position(folder / name) for name in names]
    found: dict[int, StoredImage] = {}
    for name, start, end in zip(names, starts, [*starts[1:], info.counts[split]], strict=True):
        own = [position for position in wanted if start <= position < end]
        images = index_tars(folder, info, [name]) if own else []
        found |= {position: images[position - start] for position in own if position - start < len(images)}
    if len(found) != len(wanted):
        missing = next(position for position in wanted if position not in found)
        raise broken(folder / "task.json", f"there should be a {split} image {missing}, there is none", STAGE)
    return found


def _first_position(tar: Path) -> int:
    """The position in the split of the tar's first image, which is its key."""
    try:
        key = next((key for key, _ in index_tar(tar)), "")
    except (tarfile.TarError, OSError) as error:
        raise broken(tar, f"it should be a whole tar of samples, but reading it failed ({error})", STAGE) from error
    if not key.isdigit():
        raise broken(tar, f"its first key should be the position of an image, it is {_short(key)}", STAGE)
    return int(key)


def iterate_task(folder: Path, split: str) -> Iterator[tuple[bytes, int]]:
    """Yields (encoded image, label) of the split in their order. ContractError as index_task."""
    return ((image.read(), image.label) for image in index_task(folder, split))


def _index_shard(tar: Path, info: TaskInfo) -> Iterator[StoredImage]:
    numbers = {caption: number for number, caption in enumerate(info.class_names)} if info.kind == PAIRS else {}
    try:
        for key, files in index_tar(tar):
            image, target = _image_and_target(tar, key, files, info.kind)
            if info.kind == PAIRS:
                captions = captions_in(target)
                label = next((numbers[caption] for caption in captions if caption in numbers), -1)
                yield StoredImage(image, label, captions)
            else:
                yield StoredImage(image, _label(tar, key, target, len(info.class_names)))
    except (tarfile.TarError, OSError) as error:
        raise broken(tar, f"it should be a whole tar of samples, but reading it failed ({error})", STAGE) from error


def captions_in(text: bytes) -> Captions:
    """Returns the captions in the text of a sample, one a line."""
    return tuple(filter(None, text.decode("utf-8", "replace").split("\n")))


def _image_and_target(tar: Path, key: str, files: Mapping[str, StoredFile], kind: str) -> tuple[StoredFile, bytes]:
    extension = _TARGETS[kind]
    images = [file for name, file in files.items() if name != extension]
    target = files[extension].read() if extension in files else b""
    if len(images) != 1 or not (target.isdigit() if kind == CLASSES else target):
        expected = {CLASSES: "its label", PAIRS: "its captions"}[kind]
        raise broken(tar, f"sample {key} should be one image and {expected}, it is {', '.join(files)}", STAGE)
    return images[0], target


def _label(tar: Path, key: str, text: bytes, classes: int) -> int:
    if int(text) >= classes:
        raise broken(tar, f"sample {key} has label {int(text)}, task.json has {classes} classes", STAGE)
    return int(text)


def _write_split(folder: Path, split: str, images: Iterable[LabeledImage], per_shard: int, classes: int) -> None:
    remaining = iter(images)
    count = 0
    for index in range(10**5):
        batch = list(islice(remaining, per_shard))
        if not batch:
            break
        write_tar(folder / f"{split}-{index:05d}.tar", _samples(batch, count, classes))
        count += len(batch)


def _samples(images: Iterable[LabeledImage], start: int, classes: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    for offset, (image, extension, target) in enumerate(images):
        assert isinstance(target, tuple) or 0 <= target < classes, f"label {target} of {classes} classes"
        kind, text = (PAIRS, "\n".join(target)) if isinstance(target, tuple) else (CLASSES, str(target))
        yield f"{start + offset:08d}", {extension: image, _TARGETS[kind]: text.encode()}


def _require_sound(path: Path, info: TaskInfo) -> None:
    checks: list[tuple[Callable[[], Any], str]] = [
        (lambda: len(info.class_names) > 1, f"at least two classes, it has {len(info.class_names)}"),
        (lambda: len(set(info.class_names)) == len(info.class_names), "unique class names"),
        (lambda: all(isinstance(name, str) and name.strip() for name in info.class_names), "no empty class name"),
        (lambda: info.templates and all("{}" in template for template in info.templates), "templates that contain {}"),
    ]
    for holds, expectation in checks:
        if not holds():
            raise broken(path, f"a task should have {expectation}", STAGE)
