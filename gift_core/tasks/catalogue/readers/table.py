"""Which reader reads which data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gift_core.tasks.catalogue.contents import Contents
from gift_core.tasks.catalogue.readers import (
    aircraft,
    caltech101,
    cifar100,
    dtd,
    eurosat,
    flowers,
    food,
    mnist,
    oxford_pet,
    stanford_cars,
    sun397,
    tinyimagenet,
)

READERS: Mapping[str, Callable[[Path], Contents]] = {
    "aircraft": aircraft.read,
    "caltech101": caltech101.read,
    "cifar100": cifar100.read,
    "dtd": dtd.read,
    "eurosat": eurosat.read,
    "flowers": flowers.read,
    "food": food.read,
    "mnist": mnist.read,
    "oxford_pet": oxford_pet.read,
    "stanford_cars": stanford_cars.read,
    "sun397": sun397.read,
    "tinyimagenet": tinyimagenet.read,
}
