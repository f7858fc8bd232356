"""Mean, spread and paired differences over few seeds, with the exact quantile of Student's t."""

from __future__ import annotations

import math
from itertools import accumulate

import pandas as pd

from gift_core.report.comparison.figures import Difference, Spread

CONFIDENCE = 0.95


def spread_of(figures: pd.Series[float]) -> Spread:
    """Mean and sample standard deviation (n - 1); the latter None for one figure, both for none."""
    count = len(figures)
    mean = float(figures.mean()) if count else None
    return Spread(mean, float(figures.std(ddof=1)) if count > 1 else None, count)


def difference_of(figures: pd.Series[float], others: pd.Series[float]) -> Difference | None:
    """figures - others over the seeds that both have, with its 95% interval; None where they share no seed."""
    differences = (figures - others).dropna()
    count = len(differences)
    if count == 0:
        return None
    mean = float(differences.mean())
    if count == 1:
        return Difference(mean, None, None, 1)
    margin = t_quantile(CONFIDENCE, count - 1) * float(differences.std(ddof=1)) / math.sqrt(count)
    return Difference(mean, mean - margin, mean + margin, count)


def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(-t < T < t) = confidence for Student's T with a whole number of degrees of freedom, by bisection."""
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if central_probability(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(middle)


def central_probability(angle: float, freedom: int) -> float:
    """P(-t < T < t) for t = sqrt(freedom) tan(angle): a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    factors = ((step - 1) / step * cosine**2 for step in range(2 + odd, freedom, 2))
    first = cosine if odd else 1.0
    total = sum(accumulate(factors, lambda term, factor: term * factor, initial=first)) if freedom > 1 else 0.0
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
