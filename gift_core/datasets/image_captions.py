"""Images with captions: caption files beside the images, a table with a row for each caption, or WebDataset tars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gift_core.artifacts.task import SPLITS, Captions
from gift_core.config.tasks import PairsTaskConfig
from gift_core.datasets.captioned_folder import REMEDY, caption_text
from gift_core.datasets.dataset import (
    MIN_PAIRS,
    PairDataset,
    Sample,
    Splits,
    captions_of,
    require_folder,
    require_fraction,
    validation_note,
)
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import FolderReader, ImageFile, LeftOut
from gift_core.datasets.image_table import (
    VALIDATION,
    Entry,
    columns_of,
    read_entries,
    require_files,
    sample_of,
    unlisted,
    unused_splits,
    validation_samples,
)
from gift_core.datasets.spelling import plain_captions, printable, split_of
from gift_core.datasets.webdataset import CAPTIONS, find_splits
from gift_core.errors import UserError
from gift_core.quantities import first_names, plural
from gift_core.seeds import seed_for

TEMPLATE = "{}"  # a caption is a whole prompt


def pairs_dataset(name: str, config: PairsTaskConfig, *, root: Path, seed: int) -> PairDataset:
    """Returns the images of the task with their captions. `notes` say what was left out.

    UserError for an image without a caption, an empty caption, text that is not UTF-8, a missing table, column, tar or
    file, an image in both splits, and for too few images.
    """
    key = f"params.yaml: tasks.{name}"
    folder = root / config.path
    require_folder(folder, f"{key}.path: {config.path}")
    read = _from_table if config.table is not None else _from_tars if config.train is not None else _from_folder
    found, notes = read(folder, config, name, key)
    location, by_seed = f"{key}.path: {config.path}", not found["test"]
    splits = found if not by_seed else _split(found["train"], config.test_fraction, seed, location)
    for split in SPLITS:
        if len(splits[split]) < MIN_PAIRS:
            what = f"{plural(len(splits[split]), f'{split} image')}, but a task of pairs needs {MIN_PAIRS} or more"
            raise UserError(f"{location}: {what}, to tell them apart by their captions. Add images with captions.")
    captions = vocabulary_captions(splits["train"], config.vocabulary_captions, task=name, seed=seed)
    if len(captions) < 2:
        raise UserError(f"{location}: all training images have one caption, {captions[0]!r}. Write what differs.")
    notes = (*notes, *_shared_captions(splits["test"]))
    return PairDataset(
        {each: each for each in captions}, (TEMPLATE,), splits["train"], splits["test"], notes,
        found.get(VALIDATION, ()), by_seed=by_seed,
    )  # fmt: skip


def vocabulary_captions(train: Iterable[Sample], count: int, *, task: str, seed: int) -> Captions:
    """Returns `count` different training captions (all, if there are fewer), sampled by seed, in their order."""
    distinct = list(dict.fromkeys(caption for sample in train for caption in captions_of(sample)))
    order = np.random.default_rng(seed_for("vocabulary captions", seed, task)).permutation(len(distinct))
    return tuple(distinct[position] for position in sorted(order[:count].tolist()))


def _split(samples: Sequence[Sample], test_fraction: float | None, seed: int, location: str) -> Splits:
    """Splits images by seed. All captions of an image are in one split."""
    share = require_fraction(test_fraction, location)
    order = np.random.default_rng(seed_for("split", seed, "pairs")).permutation(len(samples))
    test = set(order[: round(share * len(samples))].tolist())
    return {
        "train": [sample for position, sample in enumerate(samples) if position not in test],
        "test": [sample for position, sample in enumerate(samples) if position in test],
    }


def _shared_captions(test: Iterable[Sample]) -> tuple[str, ...]:
    counts = Counter(caption for sample in test for caption in captions_of(sample))
    shared = [repr(caption) for caption, count in counts.items() if count > 1]
    if not shared:
        return ()
    what = f"{plural(len(shared), 'test caption')} of several test images, so none of these is the right one alone"
    return (f"{what}: {first_names(shared)}.",)


def _from_folder(folder: Path, config: PairsTaskConfig, name: str, key: str) -> tuple[Splits, tuple[str, ...]]:
    """Images at any depth of `folder`, or of its folders train and test."""
    location = f"{key}.path: {config.path}"
    reader = FolderReader(folder, location, beside=".txt")
    images = reader.images(folder)
    if not images:
        raise UserError(f"{location}: there are no images ({', '.join(SUFFIXES)}). {REMEDY}")
    without = [printable(image.name) for image in images if not image.path.with_suffix(".txt").is_file()]
    if without:
        what = f"{plural(len(without), 'image')} without a caption: {first_names(without)}"
        raise UserError(f"{location}: {what}. {REMEDY}")
    splits = {(path.parts[0], split_of(path.parts[0])) for image in images if len((path := Path(image.name)).parts) > 1}
    folder_of = {split: part for part, split in splits if split}
    notes = (*_left_over(reader, images), *reader.notes())
    if not folder_of:
        return {"train": [_captioned(image, location) for image in images], "test": []}, notes
    found: dict[str, list[Sample]] = {split: [] for split in (*SPLITS, VALIDATION)}
    for image in images:
        split = split_of(Path(image.name).parts[0])
        if split is None or not set(SPLITS) <= set(folder_of):
            named = " and ".join(f"{part}/" for part in sorted(folder_of.values()))
            what = f"{printable(image.name)} is beside {named}" if split is None else f"there is {named} alone"
            raise UserError(f"{location}: {what}. Put all images into train/ and test/, or into neither.")
        found[split].append(_captioned(image, location))
    return found, (*notes, *validation_note(f"{folder_of.get(VALIDATION)}/", len(found[VALIDATION])))


def _captioned(image: ImageFile, location: str) -> Sample:
    captions = plain_captions(caption_text(image.path, location))
    return Sample(captions, printable(image.name), image.path.read_bytes, image.size, image.path)


def _left_over(reader: FolderReader, images: Iterable[ImageFile]) -> tuple[str, ...]:
    used = {Path(image.name).with_suffix("").as_posix() for image in images}
    unused = [name for name in sorted(reader.found_beside) if Path(name).with_suffix("").as_posix() not in used]
    return (f"{plural(len(unused), 'caption file')} without an image left out: {first_names(unused)}.",) * bool(unused)


def _from_table(folder: Path, config: PairsTaskConfig, name: str, key: str) -> tuple[Splits, tuple[str, ...]]:
    """The images in the order of their first rows. An image has the captions of all its rows."""
    location, columns = f"{key}.table: {config.table}", columns_of(config)
    entries = list(read_entries(folder, columns, key))
    notes = unused_splits(folder, columns, location)
    first: dict[str, Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.file, entry)
        if other.split != entry.split:
            what = f"{entry.file} is of {other.split} on {other.position} and of {entry.split} on {entry.position}"
            raise UserError(f"{location}: {what}. An image belongs to one split: correct the table.")
        if other is not entry:
            first[entry.file] = replace(other, label=f"{other.label}\n{entry.label}")
    images = [entry for entry in first.values() if entry.split != VALIDATION]
    require_files(images, folder, location)
    found: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for entry in images:
        found[entry.split or "train"].append(sample_of(replace(entry, label=plain_captions(entry.label)), folder))
    held = (replace(entry, label=plain_captions(entry.label)) for entry in first.values())
    found[VALIDATION] = validation_samples(held, folder)
    validation = validation_note(f"val in column {config.split_column!r}", len(first) - len(images))
    return found, (*notes, *validation, *unlisted(folder, {*first, columns.table}))


def _from_tars(folder: Path, config: PairsTaskConfig, name: str, key: str) -> tuple[Splits, tuple[str, ...]]:
    left_out = LeftOut()
    splits = find_splits(folder, config, CAPTIONS, name, left_out)
    return splits, left_out.notes()
