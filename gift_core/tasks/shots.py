"""Few-shot learning: so many training images a class, drawn by seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gift_core.errors import UserError
from gift_core.seeds import seed_for
from gift_core.tasks.listing import Item, Listing


def draw_shots(listing: Listing, shots: int, *, task: str, seed: int) -> Listing:
    """Returns the listing with `shots` training images a class, in their order; the test split stays whole.

    Each class is drawn without replacement by a seed of its own. UserError for a class with fewer images than that.
    """
    places_of: dict[int, list[int]] = {label: [] for label in range(len(listing.class_names))}
    for index, item in enumerate(listing.train):
        places_of[item.label].append(index)
    taken: set[int] = set()
    for label, class_name in enumerate(listing.class_names):
        places = places_of[label]
        if len(places) < shots:
            what = f"{shots} shots cannot be drawn of class {class_name!r}, which has {_images(places)} to learn from"
            raise UserError(f"params.yaml: tasks.{task}.shots: {what}. Write {len(places)} or fewer, or add images.")
        order = np.random.default_rng(seed_for("shots", seed, task, class_name)).permutation(len(places))
        taken.update(places[position] for position in order[:shots])
    train: Sequence[Item] = tuple(item for index, item in enumerate(listing.train) if index in taken)
    return dataclasses.replace(listing, train=train)


def _images(places: Sequence[int]) -> str:
    return "1 image" if len(places) == 1 else f"{len(places)} images"
