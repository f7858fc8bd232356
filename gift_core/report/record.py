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


@dataclass(frozen=True)
class RunRecord:
    """A whole run. `losses` has the columns method, position, task, step, term, value."""

    experiment: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    plain_methods: tuple[str, ...]
    accuracy: pd.DataFrame
    matrices: Mapping[str, pd.DataFrame]
    metrics: Mapping[str, Mapping[str, float | None]]
    losses: pd.DataFrame
    sheets: tuple[PairSheet, ...]
    facts: tuple[Fact, ...]
    models: pd.DataFrame
    timings: pd.DataFrame

    def percent(self, method: str) -> pd.DataFrame:
        """Top-1 in percent: the pre-trained model's row, then one after each task; columns are the tasks."""
        return self.matrices[method]
