"""WebDataset tars. Images are read from their positions in the tars, nothing is unpacked."""

from __future__ import annotations

import glob
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from gift_core.artifacts.tars import StoredFile, index_tar
from gift_core.config.tasks import WebDatasetTaskConfig, is_inside
from gift_core.datasets.dataset import (
    Dataset,
    Sample,
    Splits,
    labels_to_learn,
    name_classes,
    nearest_name,
    require_folder,
    split_by_seed,
)
from gift_core.datasets.decoding import SUFFIXES
from gift_core.errors import UserError, did_you_mean
from gift_core.progress import progress

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_JSON = "json:"


def tar_dataset(name: str, config: WebDatasetTaskConfig, *, root: Path, seed: int) -> Dataset:
    """Returns the samples of the tars, in the order of the tars' names and within each tar.

    Patterns are those of a shell: birds-{000..005}.tar, train/*.tar. Several are joined with "::", as in WebDataset.
    UserError for a missing, compressed or damaged tar, a sample without one image and one label, a tar in both splits,
    and for too few classes.
    """
    key = f"params.yaml: tasks.{name}"
    folder = root / config.path
    require_folder(folder, f"{key}.path: {config.path}")
    splits = _find_splits(folder, config, name, seed)
    labels = labels_to_learn(splits, f"{key}.train: {config.train}")
    classes = name_classes(labels, config, folder=folder, task=name)
    return Dataset(classes, config.templates, splits["train"], splits["test"])


def _find_splits(folder: Path, config: WebDatasetTaskConfig, name: str, seed: int) -> Splits:
    key = f"params.yaml: tasks.{name}"
    train = _find_tars(folder, config.train, f"{key}.train")
    if config.test is None:
        samples = _read_samples(train, config.label, name, "train")
        location = f"{key}.train: {config.train}"
        return split_by_seed(samples, test_fraction=config.test_fraction, seed=seed, location=location)
    test = _find_tars(folder, config.test, f"{key}.test")
    both = [tar.name for tar in test if tar in set(train)]
    if both:
        raise UserError(f"{key}.test: {both[0]} is also a training tar. Remove it from one of the two patterns.")
    return {
        "train": _read_samples(train, config.label, name, "train"),
        "test": _read_samples(test, config.label, name, "test"),
    }


def _find_tars(folder: Path, pattern: str, key: str) -> list[Path]:
    """Returns the distinct tars below `folder` that the pattern names, sorted."""
    found: set[Path] = set()
    for name in _expand(pattern, key):
        if not is_inside(name):
            raise UserError(f"{key}: {name} is outside the task's path. Name tars relative to it.")
        matches = sorted(folder.glob(name)) if glob.has_magic(name) else [folder / name]
        if not matches:
            raise UserError(f"{key}: no file matches {name!r}. {_tars_below(folder)}")
        if not matches[0].is_file():
            near = nearest_name(folder, name)
            hint = f"Did you mean {near!r}?" if near else _tars_below(folder)
            raise UserError(f"{key}: there is no tar {name!r}. {hint}")
        found.update(matches)
    return sorted(found, key=lambda path: path.as_posix())


def _expand(pattern: str, key: str) -> list[str]:
    import braceexpand

    try:
        return [name for part in pattern.split("::") for name in braceexpand.braceexpand(part)]
    except ValueError:  # its UnbalancedBracesError
        raise UserError(f"{key}: {pattern!r} has an unmatched brace. Write {{000..005}}.") from None


def _tars_below(folder: Path) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tar"))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"There are: {shown}." if names else "There are no tars below the task's path."


def _read_samples(tars: Sequence[Path], label: str, name: str, split: str) -> list[Sample]:
    key = f"params.yaml: tasks.{name}.{split}"
    samples: list[Sample] = []
    for tar in progress(tars, len(tars), f"list {name} {split} tars"):
        samples.extend(_index(tar, label, key))
    if not samples:
        raise UserError(f"{key}: the tars have no samples. Write files with the same name: 0001.jpg, 0001.cls.")
    return samples


def _index(path: Path, label: str, key: str) -> Iterator[Sample]:
    """Yields the samples of a tar in their order. `label` is an extension ("cls", "txt"), or "json:<key>"."""
    _require_uncompressed(path, key)
    try:
        for name, files in index_tar(path):
            yield _sample(path, name, files, label, key)
    except tarfile.TarError as error:
        raise UserError(
            f"{key}: {path.name} cannot be read as a tar of samples ({error}). Copy or make it again."
        ) from None


def _sample(path: Path, name: str, files: Mapping[str, StoredFile], label: str, key: str) -> Sample:
    images = [extension for extension in files if PurePosixPath(f"image.{extension}").suffix in SUFFIXES]
    if len(images) != 1:
        what = f"sample {name} of {path.name} has {', '.join(files)}, but it should have one image"
        raise UserError(f"{key}: {what} ({', '.join(SUFFIXES)}) and its label, one after the other.")
    image = files[images[0]]
    return Sample(_read_label(path, name, files, label, key), f"{path.name}/{name}.{images[0]}", image.read, image.size)


def _read_label(path: Path, name: str, files: Mapping[str, StoredFile], label: str, key: str) -> str:
    sample = f"sample {name} of {path.name}"
    extension = "json" if label.startswith(_JSON) else label
    if extension not in files:
        raise UserError(f"{key}: {sample} has no label, a file .{extension}. {did_you_mean(extension, files)}")
    try:
        text = files[extension].read().decode("utf-8-sig").strip()
        if label.startswith(_JSON):
            text = _json_label(json.loads(text), label.removeprefix(_JSON))
    except ValueError as error:  # not UTF-8, not JSON, or no such key
        raise UserError(f"{key}: the label of {sample} cannot be read ({error}). Write a number or a name.") from None
    if not text:
        raise UserError(f"{key}: the label of {sample} is empty. Write a number or a name.")
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


def _require_uncompressed(path: Path, key: str) -> None:
    """A compressed tar has no positions to read images from."""
    with path.open("rb") as stream:
        start = stream.read(max(map(len, _COMPRESSED)))
    for signature, command in _COMPRESSED.items():
        if start.startswith(signature):
            what = f"{path.name} is compressed, but images are read from their positions in a plain tar"
            raise UserError(f"{key}: {what}. Unpack it with {command}; images hardly shrink by compression anyway.")
