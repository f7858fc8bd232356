"""Learned against kept as alpha goes from 0 to 1: the curves of methods, where they are stored, and which lies above.

alpha is the share of what was learned in the released weights (gift_core.use.release). Another alpha trains nothing, so
a method has a curve, and its release is a point on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from gift_core.artifacts.accuracy import ENVIRONMENT, PRETRAINED, read_accuracy
from gift_core.artifacts.contract import read
from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.accuracies import Scores
from gift_core.report.labels import number

ALPHAS = (0.2, 0.4, 0.6, 0.8, 1.0)  # 0 is the zero-shot model
EQUAL = 0.1  # points: curves that are closer lie on each other
Array = npt.NDArray[np.float64]


class StoredCurve(BaseModel, extra="forbid"):
    """A file of Layout.alpha_curve: the tests of a method's last model at other alphas than its own.

    `tested`: the hashes of what was tested, as in the metadata of accuracies. `points`: (alpha, Last, zero-shot kept)
    in percent on the test images, under the protocol of the run.
    """

    tested: dict[str, str]
    points: list[tuple[float, float, float]]


@dataclass(frozen=True, eq=False)
class AlphaCurve:
    """A method's points by increasing alpha, from 0 to 1, in percent. `chosen`: the alpha that the run released."""

    alphas: Array
    kept: Array
    learned: Array
    chosen: float

    def learned_at(self, levels: Array) -> Array:
        """Returns the most that is learned where at least so much is kept, at any alpha; linear between the points."""
        fine = np.linspace(0, 1, 501)
        kept, learned = (np.interp(fine, self.alphas, values) for values in (self.kept, self.learned))
        return np.array([learned[kept >= level - 1e-9].max() for level in levels])


def has_curve(config: Config, method: str) -> bool:
    """Whether learned against kept is defined for a method: it has one last model, and there are probes."""
    row = config.methods[method]
    return row.learns != "nothing" and not row.keeps_every_model and bool(config.evaluation.probes)


def own_alpha(config: Config, method: str) -> float:
    """Returns the alpha at which the method is released, 1 for the trained model."""
    release = config.methods[method].release
    return 1.0 if release is None else release.alpha


def tested_with(layout: Layout, config: Config, method: str) -> dict[str, str]:
    """Returns the hashes of the trained model's record, the pre-trained model and the test sets, not of the release."""
    metadata = read_accuracy(layout.accuracy(method, config.sequence[-1].task))[1]
    pretrained = f"model:{PRETRAINED}"
    of_release = [name for name in metadata if name.startswith(("model:", ENVIRONMENT)) and name != pretrained]
    return {name: text for name, text in metadata.items() if name not in of_release}


def stored_points(layout: Layout, config: Config, method: str) -> list[tuple[float, float, float]] | None:
    """Returns the points of the method's file; None without one, and where something else was tested."""
    file = layout.alpha_curve(method)
    if not file.is_file():
        return None
    stored = read(StoredCurve, file, "gift compare --over-alpha")
    return stored.points if stored.tested == tested_with(layout, config, method) else None


def curve_of_run(layout: Layout, config: Config, method: str, scores: Scores) -> AlphaCurve | None:
    """Returns the curve of a method in a run; None if no points are stored. The run measured 0 and its own alpha."""
    stored = stored_points(layout, config, method)
    if stored is None:
        return None
    points = {alpha: (learned, kept) for alpha, learned, kept in stored}
    for alpha, name in ((0.0, ZERO_SHOT), (own_alpha(config, method), method)):
        points[alpha] = (scores[name]["last"] or 0.0, scores[name]["probes"] or 0.0)
    alphas = sorted(points)
    learned, kept = np.array([points[alpha] for alpha in alphas]).T
    return AlphaCurve(np.array(alphas), kept, learned, own_alpha(config, method))


def mean_curve(curves: Sequence[AlphaCurve | None]) -> AlphaCurve | None:
    """Returns the mean of a method's curves over seeds, which have the same alphas; None where one is not stored."""
    stored = [curve for curve in curves if curve is not None]
    if len(stored) < len(curves):
        return None
    kept = np.mean([curve.kept for curve in stored], axis=0)
    learned = np.mean([curve.learned for curve in stored], axis=0)
    return AlphaCurve(stored[0].alphas, kept, learned, stored[0].chosen)


def which_lies_above(name: str, curve: AlphaCurve, other_name: str, other: AlphaCurve) -> str:
    """Returns a sentence: whose curve lies above where, at the levels of zero-shot kept that both have."""
    low, high = max(curve.kept.min(), other.kept.min()), min(curve.kept.max(), other.kept.max())
    over = f"from {number(low)} to {number(high)}% zero-shot kept"
    levels = np.linspace(low, high, 201)
    differences = curve.learned_at(levels) - other.learned_at(levels)
    is_clear = np.abs(differences) > EQUAL
    if not is_clear.any():
        return f"The curves of {name} and {other_name} lie on each other {over}."
    clear, is_above = levels[is_clear], differences[is_clear] > 0
    upper, lower = (name, other_name) if is_above[0] else (other_name, name)
    changes = np.flatnonzero(np.diff(is_above))
    if not len(changes):
        mean = number(float(np.abs(differences).mean()))
        return f"The curve of {upper} lies above that of {lower} {over}, by {mean} points of Last on average."
    crossings = " and ".join(number(float(clear[at] + clear[at + 1]) / 2) for at in changes)
    return f"The curves of {name} and {other_name} cross at {crossings}% zero-shot kept: below, {upper} lies above."
