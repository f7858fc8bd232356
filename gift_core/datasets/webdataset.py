"""WebDataset tars. Images are read from their positions in the tars, nothing is unpacked."""

from __future__ import annotations

import glob
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from gift_core.artifacts.tars import StoredFile, index_tar
from gift_core.config.tasks import PairsTaskConfig, WebDatasetTaskConfig, is_inside
from gift_core.datasets.dataset import Listing, Sample, nearest_name
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import HIDDEN, NO_IMAGE, LeftOut, is_in_hidden
from gift_core.datasets.spelling import comparison_key, plain_captions, plain_name
from gift_core.errors import UserError, did_you_mean
from gift_core.progress import progress
from gift_core.untrusted import parse_json

MAX_LABEL_BYTES, MAX_JSON_BYTES = 4096, 2**24
# Where a sample may have its class number a second time.
_SAME_LABEL = {"cls": ("json:cls", "json:label"), "json:cls": ("cls",), "json:label": ("cls",)}
_SHOWN = 80  # letters of a wrong value in an error

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_JSON = "json:"
CAPTIONS = "captions:txt"  # as a label: the lines of the file .txt


def list_tars(name: str, config: WebDatasetTaskConfig, root: Path) -> Listing:
    """Returns the samples of the tars, in the order of the tars' names and within each tar.

    Patterns are those of a shell: birds-{000..005}.tar, train/*.tar. Several are joined with "::", as in WebDataset.
    Files with neither an image nor a label beside them are left out and counted.
    UserError for a missing, compressed or damaged tar, a sample without one image and one label, and a tar in both
    splits.
    """
    return tar_listing(root / config.path, config, config.label, name)


def tar_listing(folder: Path, config: WebDatasetTaskConfig | PairsTaskConfig, label: str, name: str) -> Listing:
    """Returns the samples of the tars in `folder` with their labels or captions."""
    key, left_out = f"params.yaml: tasks.{name}", LeftOut()
    patterns = {"train": config.train, "test": config.test}
    tars = {split: _find_tars(folder, each, f"{key}.{split}") for split, each in patterns.items() if each is not None}
    files = {(tar.stat().st_dev, tar.stat().st_ino) for tar in tars["train"]}
    both = [tar.name for tar in tars.get("test", ()) if (tar.stat().st_dev, tar.stat().st_ino) in files]
    if both:
        raise UserError(f"{key}.test: {both[0]} is also a training tar. Remove it from one of the two patterns.")
    samples = [sample for split in tars for sample in _read_samples(tars[split], label, name, split, left_out)]
    return Listing(samples, f"{key}.train: {config.train}", left_out=left_out.notes())


def _find_tars(folder: Path, pattern: str, key: str) -> list[Path]:
    """Returns the distinct tars below `folder` that the pattern names, sorted."""
    import braceexpand

    try:
        names = [name for part in pattern.split("::") for name in braceexpand.braceexpand(part)]
    except ValueError:  # its UnbalancedBracesError
        raise UserError(f"{key}: {pattern!r} has an unmatched brace. Write {{000..005}}.") from None
    found: set[Path] = set()
    for name in names:
        if not is_inside(name):
            raise UserError(f"{key}: {name} is outside the task's path. Name tars relative to it.")
        try:
            matches = sorted(folder.glob(name)) if glob.has_magic(name) else [folder / name]
        except (ValueError, OSError) as error:
            raise UserError(f"{key}: {name!r} is no pattern ({error}). Write *, ? or [0-9].") from None
        if not matches:
            raise UserError(f"{key}: no file matches {name!r}. {_tars_below(folder)}")
        for match in matches:
            if not match.is_file():
                near = nearest_name(folder, name)
                hint = f"Did you mean {near!r}?" if near else _tars_below(folder)
                raise UserError(f"{key}: there is no tar {match.relative_to(folder).as_posix()!r}. {hint}")
        found.update(matches)
    return sorted(found, key=lambda path: path.as_posix())


def _tars_below(folder: Path) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tar"))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"There are: {shown}." if names else "There are no tars below the task's path."


def _read_samples(tars: Sequence[Path], label: str, name: str, split: str, left_out: LeftOut) -> list[Sample]:
    key = f"params.yaml: tasks.{name}.{split}"
    samples: list[Sample] = []
    for tar in progress(tars, len(tars), f"list {name} {split} tars"):
        samples.extend(_index(tar, label, key, split, left_out))
    if not samples:
        left = "".join(f" {note}" for note in left_out.notes())
        files = f"0001.jpg, 0001.{_label_extension(label)}"
        raise UserError(f"{key}: the tars have no samples. Write files with the same name: {files}.{left}")
    return samples


def _index(path: Path, label: str, key: str, split: str, left_out: LeftOut) -> Iterator[Sample]:
    """Yields the samples of a tar in their order. `label` is an extension ("cls", "txt"), or "json:<key>"."""
    _require_uncompressed(path, key)
    skipped: list[str] = []
    try:
        for name, files in index_tar(path, skipped, is_stray=is_in_hidden):
            images = [each for each in files if PurePosixPath(f"image.{each}").suffix in SUFFIXES]
            if not images and _label_extension(label) not in files:  # such as a readme.md
                skipped += [f"{name}.{extension}" for extension in files]
                continue
            if len(images) != 1:
                what = f"sample {name} of {path.name} has {', '.join(files)}, but it should have one image"
                raise UserError(f"{key}: {what} ({', '.join(SUFFIXES)}) and its {_noun(label)}, one after the other.")
            text, image = _read_label(path, name, files, label, key), files[images[0]]
            yield Sample(text, f"{path.name}/{name}.{images[0]}", image.size, image.tar, image.offset, split)
    except (tarfile.TarError, OSError) as error:
        raise UserError(
            f"{key}: {path.name} cannot be read as a tar of samples ({error}). Copy or make it again."
        ) from None
    for name in skipped:
        hidden = is_in_hidden(name) or PurePosixPath(name).name.startswith("__")
        left_out.add(HIDDEN if hidden else NO_IMAGE, f"{path.name}/{name}")


def _label_extension(label: str) -> str:
    return "json" if label.startswith(_JSON) else label.rpartition(":")[2]


def _read_label(path: Path, name: str, files: Mapping[str, StoredFile], label: str, key: str) -> str:
    sample, noun = f"sample {name} of {path.name}", _noun(label)
    remedy = "Write one caption a line, as UTF-8" if label == CAPTIONS else "Write a number or a name"
    extension = _label_extension(label)
    if extension not in files:
        raise UserError(f"{key}: {sample} has no {noun}, a file .{extension}. {did_you_mean(extension, files)}")
    try:
        text = _label_in(files[extension], label)
        _require_agreement(text, label, files)
    except ValueError as error:  # not UTF-8, not JSON, or no such key
        raise UserError(f"{key}: the {noun} of {sample} cannot be read ({error}). {remedy}.") from None
    if not text:
        raise UserError(f"{key}: the {noun} of {sample} is empty. {remedy}.")
    return text


def _noun(label: str) -> str:
    return "caption" if label == CAPTIONS else "label"


def _label_in(file: StoredFile, label: str) -> str:
    limit = MAX_LABEL_BYTES if ":" not in label else MAX_JSON_BYTES
    if file.size > limit:
        raise ValueError(f"it has {file.size:,} bytes, more than {limit:,}")
    if label.startswith(_JSON):
        return plain_name(_json_label(parse_json(file.read()), label.removeprefix(_JSON)))
    if label == CAPTIONS:
        return plain_captions(file.read().decode("utf-8-sig"))
    return plain_name(file.read().decode("utf-8-sig"))


def _require_agreement(text: str, label: str, files: Mapping[str, StoredFile]) -> None:
    """Raises ValueError if the sample has its class number in .cls and in .json, and they differ."""
    for other in _SAME_LABEL.get(label, ()):
        try:
            number = _label_in(files[other.partition(":")[0]], other)
        except (KeyError, ValueError):  # no such file, or not a label
            continue
        if text.isdecimal() and number.isdecimal() and comparison_key(text) != comparison_key(number):
            raise ValueError(f"{label} says {text}, but {other} says {number}")


def _json_label(record: object, key: str) -> str:
    if not isinstance(record, dict) or key not in record:
        known = did_you_mean(key, record) if isinstance(record, dict) else "It should be an object."
        raise ValueError(f"no key {key!r} in its JSON: {known}")
    value = record[key]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{key!r} is {json.dumps(value)[:_SHOWN]}")
    return str(value)


def _require_uncompressed(path: Path, key: str) -> None:
    """A compressed tar has no positions to read images from."""
    with path.open("rb") as stream:
        start = stream.read(max(map(len, _COMPRESSED)))
    for signature, command in _COMPRESSED.items():
        if start.startswith(signature):
            what = f"{path.name} is compressed, but images are read from their positions in a plain tar"
            raise UserError(f"{key}: {what}. Unpack it with {command}; images hardly shrink by compression anyway.")
