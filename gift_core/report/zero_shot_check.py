"""The first check of a reproduction: does the pre-trained model score what was published of it, before any training?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from gift_core.published import mtil
from gift_core.published.mtil import Benchmark

# Percentage points. The published accuracies are rounded to 0.1. JPEG decoders, resizing and half precision move a data
# set by a few tenths; a seeded 80/20 split drawn otherwise moves Caltech101 (1,736 test images) by a standard error of
# 0.8. A wrong template or class order moves a data set by several points, wrong activations all of them.
DATA_SET_TOLERANCE = 1.0
MEAN_TOLERANCE = 0.5

Verdict = Literal["agrees", "differs", "not compared"]


@dataclass(frozen=True)
class ZeroShotCheck:
    """The verdict, in one sentence too; accuracies in percent by data set, empty where nothing was compared."""

    benchmark: str
    verdict: Verdict
    sentence: str
    measured: pd.Series[float]
    published: pd.Series[float]


@dataclass(frozen=True)
class DataSetRow:
    """One data set of the check in print; `is_apart` beyond the tolerance."""

    data_set: str
    measured: str
    published: str
    difference: str
    is_apart: bool


def rows_of(check: ZeroShotCheck) -> list[DataSetRow]:
    """The check by data set, in the benchmark's order; empty where nothing was compared."""
    return _rows(check.measured, check.published)


def _rows(measured_by_name: pd.Series[float], published_by_name: pd.Series[float]) -> list[DataSetRow]:
    rows = zip(map(str, measured_by_name.index), measured_by_name, published_by_name, strict=True)
    return [
        DataSetRow(
            data_set,
            f"{measured:.1f}",
            f"{published:.1f}",
            _signed(measured - published),
            _is_apart(measured, published),
        )
        for data_set, measured, published in rows
    ]


def _is_apart(measured: float, published: float) -> bool:
    return abs(round(measured - published, 2)) > DATA_SET_TOLERANCE


def check_zero_shot(benchmark: Benchmark, measured: pd.Series[float]) -> ZeroShotCheck:
    """Compares the pre-trained model's accuracies by data set with those published of it."""
    published = mtil.zero_shot(benchmark)
    apart = (measured - published).round(2)
    mean = round(float(measured.mean() - published.mean()), 2)
    off = apart[apart.abs() > DATA_SET_TOLERANCE]
    agrees = off.empty and abs(mean) <= MEAN_TOLERANCE
    means = f"mean {measured.mean():.1f}% against {published.mean():.1f}%"
    if agrees:
        said = f"{means}, no data set more than {apart.abs().max():.1f} points apart"
    else:
        said = f"{means}; {_apart(off, measured, published)} Check first: {_remedies(len(off), len(apart))}"
    verb = "agrees" if agrees else "does not agree"
    sentence = f"Zero-shot {verb} with the published {benchmark.title} ({mtil.MODEL}): {said}."
    return ZeroShotCheck(benchmark.title, "agrees" if agrees else "differs", sentence, measured, published)


def no_check(benchmark: Benchmark, reasons: Sequence[str]) -> ZeroShotCheck:
    """Nothing is compared, for these reasons."""
    sentence = f"Zero-shot is not compared with the published {benchmark.title}: {'; '.join(reasons)}."
    empty: pd.Series[float] = pd.Series(dtype=float)
    return ZeroShotCheck(benchmark.title, "not compared", sentence, empty, empty)


def _apart(off: pd.Series[float], measured: pd.Series[float], published: pd.Series[float]) -> str:
    if off.empty:
        return f"no data set is more than {DATA_SET_TOLERANCE:g} point apart, but all lean to one side."
    worst = [str(name) for name in off.abs().sort_values(ascending=False, kind="stable").index]
    rows = {row.data_set: row for row in _rows(measured, published)}
    named = [f"{name} {rows[name].measured} against {rows[name].published} ({rows[name].difference})" for name in worst]
    return f"more than {DATA_SET_TOLERANCE:g} point apart: {', '.join(named)}."


def _remedies(off: int, data_sets: int) -> str:
    """Most data sets apart point to the model, a few to their own data."""
    of_data = "their templates, the order of their class names, their test split"
    of_model = "QuickGELU (model.name and model.pretrained), resizing and normalisation"
    return f"{of_model}, then the templates" if 2 * off > data_sets or not off else f"{of_data}, then {of_model}"


def _signed(points: float) -> str:
    text = f"{points:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text
