"""Images with captions: caption files beside the images, a table with a row for each caption, or WebDataset tars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from gift_core.artifacts.task import SPLITS, Captions
from gift_core.config.tasks import PairsTaskConfig
from gift_core.datasets.captioned_folder import REMEDY, caption_text
from gift_core.datasets.dataset import (
    MIN_PAIRS,
    VALIDATION,
    Listing,
    PairDataset,
    Sample,
    captions_of,
    split_listing,
    validation_note,
)
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import FolderReader
from gift_core.datasets.image_table import Entry, listing_of, read_entries
from gift_core.datasets.spelling import plain_captions, split_of
from gift_core.datasets.webdataset import CAPTIONS, tar_listing
from gift_core.errors import UserError
from gift_core.quantities import first_names, plural
from gift_core.seeds import seed_for

TEMPLATE = "{}"  # a caption is a whole prompt


def list_pairs(name: str, config: PairsTaskConfig, root: Path) -> Listing:
    """Returns the images of the task with their captions.

    UserError for an image without a caption, an empty caption, text that is not UTF-8, a missing table, column, tar or
    file, and an image in both splits.
    """
    key = f"params.yaml: tasks.{name}"
    folder, location = root / config.path, f"{key}.path: {config.path}"
    if config.table is not None:
        listing = _from_table(folder, config, key)
    elif config.train is not None:
        listing = tar_listing(folder, config, CAPTIONS, name)
    else:
        listing = _from_folder(folder, location)
    return replace(listing, location=location)


def pair_dataset(listing: Listing, config: PairsTaskConfig, *, task: str, seed: int) -> PairDataset:
    """Returns the data set with its splits; all captions of an image are in one. UserError for too few images."""
    location = listing.location
    splits, by_seed = split_listing(listing, config.test_fraction, seed=seed, group=lambda sample: "pairs")
    for split in SPLITS:
        if len(splits[split]) < MIN_PAIRS:
            what = f"{plural(len(splits[split]), f'{split} image')}, but a task of pairs needs {MIN_PAIRS} or more"
            raise UserError(f"{location}: {what}, to tell them apart by their captions. Add images with captions.")
    captions = vocabulary_captions(splits["train"], config.vocabulary_captions, task=task, seed=seed)
    if len(captions) < 2:
        raise UserError(f"{location}: all training images have one caption, {captions[0]!r}. Write what differs.")
    notes = (*listing.notes, *listing.left_out, *_shared_captions(splits["test"]))
    return PairDataset(
        {each: each for each in captions}, (TEMPLATE,), splits["train"], splits["test"], notes, splits[VALIDATION],
        by_seed=by_seed,
    )  # fmt: skip


def vocabulary_captions(train: Iterable[Sample], count: int, *, task: str, seed: int) -> Captions:
    """Returns `count` different training captions (all, if there are fewer), sampled by seed, in their order."""
    distinct = list(dict.fromkeys(caption for sample in train for caption in captions_of(sample)))
    order = np.random.default_rng(seed_for("vocabulary captions", seed, task)).permutation(len(distinct))
    return tuple(distinct[position] for position in sorted(order[:count].tolist()))


def _shared_captions(test: Iterable[Sample]) -> tuple[str, ...]:
    counts = Counter(caption for sample in test for caption in captions_of(sample))
    shared = [repr(caption) for caption, count in counts.items() if count > 1]
    if not shared:
        return ()
    what = f"{plural(len(shared), 'test caption')} of several test images, so none of these is the right one alone"
    return (f"{what}: {first_names(shared)}.",)


def _from_folder(folder: Path, location: str) -> Listing:
    """Images at any depth of `folder`, or of its folders train and test."""
    reader = FolderReader(folder, location, beside=".txt")
    images = reader.images(folder)
    if not images:
        raise UserError(f"{location}: there are no images ({', '.join(SUFFIXES)}). {REMEDY}")
    without = [image.name for image in images if not image.file.with_suffix(".txt").is_file()]
    if without:
        what = f"{plural(len(without), 'image')} without a caption: {first_names(without)}"
        raise UserError(f"{location}: {what}. {REMEDY}")
    part_of = {image: image.file.relative_to(folder).parts[0] for image in images if image.file.parent != folder}
    folder_of = {split: part for part in part_of.values() if (split := split_of(part))}
    used = {image.file.with_suffix("") for image in images}
    unused = [name for name in sorted(reader.found_beside) if (folder / name).with_suffix("") not in used]
    notes = (f"{plural(len(unused), 'caption file')} without an image left out: {first_names(unused)}.",) * bool(unused)
    samples: list[Sample] = []
    for image in images:
        split = split_of(part_of.get(image, ""))
        if folder_of and (split is None or not set(SPLITS) <= set(folder_of)):
            named = " and ".join(f"{part}/" for part in sorted(folder_of.values()))
            what = f"{image.name} is beside {named}" if split is None else f"there is {named} alone"
            raise UserError(f"{location}: {what}. Put all images into train/ and test/, or into neither.")
        samples.append(replace(image, label=plain_captions(caption_text(image.file, location)), split=split or ""))
    held_out = sum(sample.split == VALIDATION for sample in samples)
    validation = validation_note(f"{folder_of.get(VALIDATION)}/", held_out)
    return Listing(samples, location, (*notes, *reader.notes(), *validation))


def _from_table(folder: Path, config: PairsTaskConfig, key: str) -> Listing:
    """The images in the order of their first rows. An image has the captions of all its rows."""
    location = f"{key}.table: {config.table}"
    first: dict[str, Entry] = {}
    for entry in list(read_entries(folder, config, key)):
        other = first.setdefault(entry.file, entry)
        if other.split != entry.split:
            what = f"{entry.file} is of {other.split} on {other.position} and of {entry.split} on {entry.position}"
            raise UserError(f"{location}: {what}. An image belongs to one split: correct the table.")
        if other is not entry:
            first[entry.file] = replace(other, label=f"{other.label}\n{entry.label}")
    entries = [replace(entry, label=plain_captions(entry.label)) for entry in first.values()]
    return listing_of(entries, folder, config, location)
