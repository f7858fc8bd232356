"""Statistics over seeds: means, standard deviations, paired differences with 95% intervals, and groups of methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from gift_core.errors import lookup
from gift_core.method.metrics import ZERO_SHOT
from gift_core.mini.miniature import Miniature
from gift_core.report.accuracies import SEPARATE_MODEL_COLUMNS
from gift_core.report.highlight import COLORS
from gift_core.report.labels import LOWER_IS_BETTER, label

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Runs:
    """Finished runs of one experiment with different seeds.

    `values`: columns seed, method and `columns` in percent, one row per finished method. `seen`, for class-incremental
    runs only: seed, method, step, percent on all classes seen so far.
    """

    experiment: str
    protocol: str
    miniature: Miniature
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]  # without the zero-shot model
    references: tuple[str, ...]
    separate_models: tuple[str, ...]
    missing: tuple[tuple[int, str], ...]  # (seed, method)
    columns: tuple[str, ...]
    values: pd.DataFrame
    seen: pd.DataFrame | None

    def scores(self, method: str, column: str) -> pd.Series[float]:
        """The defined values of the method by seed, in seed order."""
        rows = self.values[self.values["method"] == method].set_index("seed")
        defined: pd.Series[float] = rows[column].dropna()
        return defined


@dataclass(frozen=True)
class Difference:
    """Mean difference over paired seeds and its 95% interval, which needs at least two seeds."""

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def exceeds_noise(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def verdict(self, column: str) -> str:
        """better or worse (beyond the noise), noise (within it), unknown (without an interval)."""
        if not self.exceeds_noise:
            return "unknown" if self.low is None else "noise"
        return "better" if (self.mean > 0) != (column in LOWER_IS_BETTER) else "worse"


@dataclass(frozen=True)
class Group:
    """Methods shown together in the table under a title."""

    title: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs with the scores of each method and column by seed, and the difference of each to the method `against`."""

    runs: Runs
    against: str
    groups: tuple[Group, ...]
    scores: Mapping[str, Mapping[str, pd.Series[float]]]
    differences: Mapping[str, Mapping[str, Difference]]

    @property
    def styles(self) -> dict[str, str]:
        """The CSS class of each method: a color of its own, m0 to m5, or with more methods that of its group."""
        if len(self.runs.methods) <= COLORS:
            return {ZERO_SHOT: "g0", **{method: f"m{at}" for at, method in enumerate(self.runs.methods)}}
        return {method: f"g{at}" for at, group in enumerate(self.groups) for method in group.methods}


def compare_methods(runs: Runs, against: str | None) -> Comparison:
    """The comparison. `against` defaults to the contender with the highest mean Last, or the zero-shot model.

    UserError with the nearest name if `against` is no method of the runs.
    """
    columns = {
        name: SEPARATE_MODEL_COLUMNS if name in runs.separate_models else runs.columns
        for name in (ZERO_SHOT, *runs.methods)
    }
    contenders = [name for name in runs.methods if name not in runs.references]
    if against is None:
        against = max(contenders, key=lambda name: float(runs.scores(name, "last").mean()), default=ZERO_SHOT)
    lookup(columns, against, "--against")
    scores = {name: {column: runs.scores(name, column) for column in of_method} for name, of_method in columns.items()}
    differences: dict[str, dict[str, Difference]] = {name: {} for name in columns if name != against}
    for name, found in differences.items():
        for column, of_column in scores[name].items():
            if column in columns[against] and (each := difference_of(of_column, scores[against][column])):
                found[column] = each
    return Comparison(runs, against, groups_of(runs), scores, differences)


def groups_of(runs: Runs) -> tuple[Group, ...]:
    """References, baselines, the method with the most variants (gift: gift_cd, gift_l2, ...), and these."""
    contenders = [name for name in runs.methods if name not in runs.references]
    variants = {name: tuple(n for n in contenders if n.startswith(f"{name}_")) for name in contenders}
    family = max(contenders, key=lambda name: len(variants[name]), default="")
    own = variants.get(family, ())
    others = tuple(name for name in contenders if not own or name not in (family, *own))
    groups = (
        Group("References", (ZERO_SHOT, *runs.references)),
        Group("Baselines" if own else "Methods", others),
        Group(label(family), (family,) if own else ()),
        Group(f"Variants of {label(family)}", own),
    )
    return tuple(group for group in groups if group.methods)


def difference_of(scores: pd.Series[float], others: pd.Series[float]) -> Difference | None:
    """scores - others over the seeds of both, with its 95% interval; None without a common seed."""
    differences = (scores - others).dropna()
    count = len(differences)
    if count == 0:
        return None
    mean = float(differences.mean())
    if count == 1:
        return Difference(mean, None, None, 1)
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # here, because importing it takes half a second

    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))  # of Student's t
    margin = quantile * float(differences.std(ddof=1)) / math.sqrt(count)
    return Difference(mean, mean - margin, mean + margin, count)
