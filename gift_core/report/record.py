"""What one run left behind, read and checked once: everything the report shows comes from a RunRecord."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import pandas as pd

from gift_core.artifacts.report_json import METRICS
from gift_core.report.beside_published import BesidePublished


@dataclass(frozen=True)
class Thumbnail:
    """A synthetic pair as the page shows it: its prompt, its picture as a data URI, the picture's side in pixels."""

    prompt: str
    data_uri: str
    side: int


@dataclass(frozen=True)
class PairSheet:
    """A sample of one task's synthetic pairs, and how many there are, were drawn again and were turned away by gates.

    `position` is the task's in the sequence, from 1; `rejected` holds a number for each reason.
    """

    position: int
    task: str
    total: int
    redrawn: int
    rejected: Mapping[str, int]
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class DataNote:
    """What a reader of the result should know of the data of some tasks: they are few, or not all there."""

    text: str
    tasks: tuple[str, ...]


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
    `separate_models` those of them with a model a task. `columns` are the result table's, `figures` its numbers.
    Task-incremental, `matrices` are filled; class-incremental, `seen` (report.accuracies.Measured says of both).
    `class_counts` are the classes of each task. `fisher` holds a profile a task where the anchor needs one.
    `published` is None where the sequence is no published benchmark.
    """

    experiment: str
    tasks: tuple[str, ...]
    class_counts: tuple[int, ...]
    methods: tuple[str, ...]
    plain_methods: tuple[str, ...]
    references: tuple[str, ...]
    separate_models: tuple[str, ...]
    accuracy: pd.DataFrame
    columns: tuple[str, ...]
    figures: Mapping[str, Mapping[str, float | None]]
    matrices: Mapping[str, pd.DataFrame]
    seen: pd.DataFrame | None
    published: BesidePublished | None
    notes: tuple[DataNote, ...]
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

    @property
    def classes_seen(self) -> tuple[int, ...]:
        """The number of classes of all tasks up to each one."""
        return tuple(accumulate(self.class_counts))

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """What metrics.json holds of each method, in percent."""
        return {method: {name: row[name] for name in METRICS} for method, row in self.figures.items()}

    def percent(self, method: str) -> pd.DataFrame:
        """Top-1 in percent: the pre-trained model's row, then one after each task; columns are the tasks."""
        return self.matrices[method]
