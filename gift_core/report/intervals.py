"""95% intervals of accuracies for the number of test images, by Wilson's score method."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.96  # a normal variable is within this many standard deviations with a probability of 95%


def accuracy_interval(percents: Sequence[float], images: Sequence[int]) -> tuple[float, float]:
    """The interval in percent of the mean of accuracies on independent test sets of these sizes.

    Limits of single accuracies are combined by the squares of their distances (Zou and Donner, 2008), so those of one
    test set are Wilson's. Near 0 and 100% and for few images they stay between 0 and 100%.
    """
    limits = [_wilson(percent, count) for percent, count in zip(percents, images, strict=True)]
    mean = sum(percents) / len(percents)
    below = math.hypot(*(percent - low for percent, (low, _) in zip(percents, limits, strict=True)))
    above = math.hypot(*(high - percent for percent, (_, high) in zip(percents, limits, strict=True)))
    return mean - below / len(percents), mean + above / len(percents)


def widest_margin(images: int) -> float:
    """The points to both sides of an accuracy of 50%, where the interval is widest."""
    low, high = _wilson(50.0, images)
    return (high - low) / 2


def _wilson(percent: float, images: int) -> tuple[float, float]:
    share, weight = percent / 100, Z**2 / images
    center, spread = share + weight / 2, Z * math.sqrt(share * (1 - share) / images + weight / (4 * images))
    return 100 * (center - spread) / (1 + weight), 100 * (center + spread) / (1 + weight)
