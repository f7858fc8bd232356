"""The course of class-incremental runs: each method's mean over the seeds after every step."""

from __future__ import annotations

from gift_core.metrics import ZERO_SHOT
from gift_core.report.comparison.figures import Comparison
from gift_core.report.course import Axis, course_chart
from gift_core.report.drawing import Chart

FEW = 8  # beyond so many methods the names at the lines' ends stand closer


def course_of(comparison: Comparison) -> Chart | None:
    """The chart, a line in the colour of the method's group; None where the runs are task-incremental."""
    runs = comparison.runs
    if runs.seen is None:
        return None
    means = runs.seen.groupby(["method", "step"])["percent"].mean()
    order = (*runs.methods, ZERO_SHOT)
    places = tuple(range(1, len(runs.tasks) + 1))
    axis = Axis(places, "steps", tuple(f"After step {place} of {len(places)}" for place in places))
    groups = {method: f"g{place}" for place, group in enumerate(comparison.groups) for method in group.methods}
    return course_chart(
        {method: [float(value) for value in means[method]] for method in order},
        axis,
        styles={method: groups[method] for method in runs.methods},
        gap=19 if len(order) <= FEW else 15,
    )
