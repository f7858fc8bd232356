"""What one run left behind, read and checked once: everything the report shows comes from a RunRecord."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Thumbnail:
    """A synthetic pair as the page shows it: its prompt, its picture as a data URI, the picture's side in pixels."""

    prompt: str
    data_uri: str
    side: int


@dataclass(frozen=True)
class PairSheet:
    """A sample of one task's synthetic pairs and how many there are in all."""

    task: str
    total: int
    redrawn: int
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Fact:
    """One line of "What ran": a name, a value, and where it is known from."""

    name: str
    value: str


@dataclass(frozen=True, order=True)
class Layer:
    """A layer of a tower (image, text; both for what they share) and its place on the way of the data."""

    tower: str
    place: tuple[int, int, int]
    name: str


@dataclass(frozen=True)
class FisherProfile:
    """A Fisher file by layers: the sum of each layer's diagonals and its number of weights."""

    estimator: str
    sums: Mapping[Layer, float]
    weights: Mapping[Layer, int]


@dataclass(frozen=True)
class RunRecord:
    """A whole run. `losses` has the columns method, position, task, step, term, value.

    `methods` are those that learn, in params.yaml's order. `references` are the ones that break the setting's rules;
    `separate_models` those of them with a model a task. `fisher` holds a profile a task where the anchor needs one.
    """

    experiment: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    plain_methods: tuple[str, ...]
    references: tuple[str, ...]
    separate_models: tuple[str, ...]
    accuracy: pd.DataFrame
    matrices: Mapping[str, pd.DataFrame]
    metrics: Mapping[str, Mapping[str, float | None]]
    losses: pd.DataFrame
    sheets: tuple[PairSheet, ...]
    fisher: Mapping[str, tuple[FisherProfile, ...]]
    facts: tuple[Fact, ...]
    models: pd.DataFrame
    timings: pd.DataFrame

    @property
    def contenders(self) -> tuple[str, ...]:
        """The methods that keep the setting's rules: those that can be the best."""
        return tuple(method for method in self.methods if method not in self.references)

    @property
    def continued(self) -> tuple[str, ...]:
        """The methods with one model that goes from task to task: so that accuracy has a course."""
        return tuple(method for method in self.methods if method not in self.separate_models)

    def percent(self, method: str) -> pd.DataFrame:
        """Top-1 in percent: the pre-trained model's row, then one after each task; columns are the tasks."""
        return self.matrices[method]
