"""Images with captions: caption files beside the images, a table with a row for each caption, or WebDataset tars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from gift_core.artifacts.task import SPLITS, Captions
from gift_core.config.tasks import PairsTaskConfig
from gift_core.datasets.captioned_folder import list_captioned
from gift_core.datasets.dataset import VALIDATION, Dataset, Listing, Sample, split_listing
from gift_core.datasets.image_table import list_table
from gift_core.datasets.webdataset import list_tars
from gift_core.errors import UserError
from gift_core.quantities import first_names, plural
from gift_core.seeds import seed_for

MIN_PAIRS = 2  # images of a split: a pair is contrasted with others
TEMPLATE = "{}"  # a caption is a whole prompt


def list_pairs(name: str, config: PairsTaskConfig, root: Path) -> Listing:
    """Returns the images of the task with their captions. UserError as the reader of each form."""
    location = f"params.yaml: tasks.{name}.path: {config.path}"
    if config.table is None and config.train is None:
        return list_captioned(root / config.path, location)
    listing = list_table(name, config, root) if config.table is not None else list_tars(name, config, root)
    return replace(listing, location=location)


def pair_dataset(listing: Listing, config: PairsTaskConfig, *, task: str, seed: int) -> Dataset:
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
    classes = {each: each for each in captions}
    parts = splits["train"], splits["test"], notes, splits[VALIDATION]
    return Dataset(classes, (TEMPLATE,), *parts, by_seed=by_seed, has_captions=True)


def vocabulary_captions(train: Iterable[Sample], count: int, *, task: str, seed: int) -> Captions:
    """Returns `count` different training captions (all, if there are fewer), sampled by seed, in their order."""
    distinct = list(dict.fromkeys(caption for sample in train for caption in sample.captions))
    order = np.random.default_rng(seed_for("vocabulary captions", seed, task)).permutation(len(distinct))
    return tuple(distinct[position] for position in sorted(order[:count].tolist()))


def _shared_captions(test: Iterable[Sample]) -> tuple[str, ...]:
    counts = Counter(caption for sample in test for caption in sample.captions)
    shared = [repr(caption) for caption, count in counts.items() if count > 1]
    what = f"{plural(len(shared), 'test caption')} of several test images, so none of these is the right one alone"
    return (f"{what}: {first_names(shared)}.",) if shared else ()
