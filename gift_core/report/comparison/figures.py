"""What the comparison is made of: each seed's figures, and what their means, spreads and differences are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

LOWER_IS_BETTER = ("forgetting",)
TITLES = {"transfer": "Transfer", "avg": "Avg", "last": "Last", "forgetting": "Forgetting", "own": "Own task"}


@dataclass(frozen=True)
class Runs:
    """Finished runs of one experiment.

    `values`: seed, method and `columns` in percent, a row a finished method. `seen`, of class-incremental runs: seed,
    method, step, percent on all classes so far.
    """

    experiment: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]  # without the zero-shot model
    references: tuple[str, ...]
    separate_models: tuple[str, ...]
    missing: tuple[tuple[int, str], ...]  # (seed, method)
    columns: tuple[str, ...]
    values: pd.DataFrame
    seen: pd.DataFrame | None

    def of(self, method: str, column: str) -> pd.Series[float]:
        """The method's figures by seed, in the order of the seeds; undefined ones are left out."""
        rows = self.values[self.values["method"] == method].set_index("seed")
        figures: pd.Series[float] = rows[column].dropna()
        return figures


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over `count` seeds; None where there are too few."""

    mean: float | None
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean difference of paired seeds and its 95% interval; no interval with fewer than two."""

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def exceeds_noise(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Group:
    """Methods that stand together in the table, under the group's title."""

    title: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs, measured: a spread a method and column, and the difference of each to the method `against`."""

    runs: Runs
    against: str
    groups: tuple[Group, ...]
    spreads: Mapping[str, Mapping[str, Spread]]
    differences: Mapping[str, Mapping[str, Difference]]
