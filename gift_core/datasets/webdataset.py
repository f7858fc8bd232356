"""WebDataset tars. Images are read from their positions in the tars, nothing is unpacked."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from gift_core.artifacts.tars import StoredFile, index_tar
from gift_core.config.tasks import PairsTaskConfig, WebDatasetTaskConfig, is_inside
from gift_core.datasets.dataset import Listing, Sample
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import is_hidden, left_out_notes
from gift_core.datasets.spelling import plain_captions, plain_name
from gift_core.errors import UserError, nearest
from gift_core.progress import progress
from gift_core.quantities import first_names
from gift_core.untrusted import parse_json

_JSON = "json:"
_CAPTIONS = "txt"  # its lines are the captions of a task of pairs


def list_tars(name: str, config: WebDatasetTaskConfig | PairsTaskConfig, root: Path) -> Listing:
    """Returns the samples of the tars, in the order of the tars' names and within each tar.

    Patterns are those of a shell: birds-{000..005}.tar, train/*.tar. Several are joined with "::", as in WebDataset.
    Files with neither an image nor a label (or captions) beside them are left out and counted.
    UserError for a missing, compressed or damaged tar, a sample without one image and one label, and a tar in both
    splits.
    """
    folder, key = root / config.path, f"params.yaml: tasks.{name}"
    patterns = {"train": config.train, "test": config.test}
    tars = {split: _find_tars(folder, pattern, f"{key}.{split}") for split, pattern in patterns.items() if pattern}
    both = sorted(set(tars.get("train", ())) & set(tars.get("test", ())))
    if both:
        raise UserError(f"{key}.test: {both[0].name} is also a training tar. Remove it from one of the two patterns.")
    label = None if isinstance(config, PairsTaskConfig) else config.label
    return read_tars(name, tars, label, location=f"{key}.train: {config.train}")


def read_tars(name: str, tars: Mapping[str, Sequence[Path]], label: str | None, *, location: str) -> Listing:
    """Returns the samples of the tars by split. `label` is an extension ("cls"), or "json:<key>", None: captions."""
    samples, left_out = list[Sample](), list[str]()
    for split, paths in tars.items():
        before = len(samples)
        key = f"params.yaml: tasks.{name}.{split}"
        for tar in progress(paths, len(paths), f"list {name} {split} tars"):
            samples += tar_samples(tar, label, key, left_out, split)
        if len(samples) == before:
            notes = "".join(f" {note}" for note in left_out_notes(left_out))
            problem = f"the tars have no samples. Write files with the same name: 0001.jpg, 0001.{_extension(label)}"
            raise UserError(f"{key}: {problem}.{notes}")
    return Listing(samples, location, left_out_notes(left_out))


def _find_tars(folder: Path, pattern: str, key: str) -> list[Path]:
    """Returns the distinct tars below `folder` that the pattern names, sorted."""
    import braceexpand

    tars = set[Path]()
    try:
        for name in [name for part in pattern.split("::") for name in braceexpand.braceexpand(part)]:
            if not is_inside(name):  # {../a,b}.tar
                raise UserError(f"{key}: {name} is outside the task's path. Name tars relative to it.")
            matches = [path for path in folder.glob(name) if path.is_file()]
            if not matches:
                below = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tar"))
                known = f"{nearest(name, below)}There are: {first_names(below) or 'no tars'}"
                raise UserError(f"{key}: no file matches {name!r}. {known}.")
            tars.update(matches)
    except ValueError as error:  # also braceexpand's UnbalancedBracesError
        raise UserError(f"{key}: {pattern!r} is no pattern ({error}). Write {{000..005}}, *, ? or [0-9].") from None
    return sorted(tars, key=lambda path: path.as_posix())


def tar_samples(path: Path, label: str | None, key: str, left_out: list[str], split: str = "") -> Iterator[Sample]:
    """Yields the samples of one tar. `label` as in read_tars. `left_out` gets the names of other files in it.

    UserError, which begins with `key`, for a damaged tar, and for a sample without one image and its label.
    """
    skipped: list[str] = []
    try:
        for name, files in index_tar(path, skipped, is_stray=lambda name: any(map(is_hidden, Path(name).parts))):
            images = [extension for extension in files if PurePosixPath(f"image.{extension}").suffix in SUFFIXES]
            if not images and _extension(label) not in files:  # such as a readme.md
                skipped += [f"{name}.{extension}" for extension in files]
                continue
            where = f"{key}: sample {name} of {path.name}"
            if len(images) != 1 or _extension(label) not in files:
                problem = f"has {', '.join(files)}, but it should have one image ({', '.join(SUFFIXES)})"
                raise UserError(f"{where} {problem} and its .{_extension(label)}, one after the other.")
            text = _read_label(files[_extension(label)], label, where)
            image = files[images[0]]
            yield Sample(text, f"{path.name}/{name}.{images[0]}", image.size, image.read, split)
    except (tarfile.TarError, OSError) as error:
        problem = f"{path.name} cannot be read as a tar of samples ({error})"
        raise UserError(f"{key}: {problem}. Unpack it with gunzip if it is compressed, or copy it again.") from None
    left_out += [f"{path.name}/{name}" for name in skipped]


def _extension(label: str | None) -> str:
    if label is None:
        return _CAPTIONS
    return "json" if label.startswith(_JSON) else label


def _read_label(file: StoredFile, label: str | None, where: str) -> str:
    """Returns the label of a sample, or its captions, one a line. `where` begins the errors."""
    data = file.read()
    try:
        if label is not None and label.startswith(_JSON):
            key = label.removeprefix(_JSON)
            record = parse_json(data)
            value = record.get(key) if isinstance(record, dict) else None
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if type(value) not in (str, int):
                raise ValueError(f"{key!r} in its JSON is {json.dumps(value)[:80]}")
            text = str(value)
        else:
            text = data.decode("utf-8-sig")
        text = plain_captions(text) if label is None else plain_name(text)
        if text:
            return text
        raise ValueError("it is empty")
    except ValueError as error:  # not UTF-8 or not JSON, too
        noun, remedy = ("caption", "one caption a line") if label is None else ("label", "a number or a name")
        raise UserError(f"{where}: its {noun} cannot be read ({error}). Write {remedy}, as UTF-8.") from None
