"""One chart of the accuracy on all classes seen so far: a line a method, the zero-shot model's dashed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gift_core.metrics import ZERO_SHOT
from gift_core.report.drawing import Chart, Frame, Hover, Label, Line, Point, Tick, path_of, spread, thinned
from gift_core.report.emphasis import QUIET
from gift_core.report.words import label, number, plural, short

MARKED_STEPS = 25  # up to here every step has a point on its line
TICKS = 12


@dataclass(frozen=True)
class Axis:
    """Where the steps stand: a rising whole number each, what they count, and how the pointer names each step."""

    places: tuple[int, ...]
    title: str
    names: tuple[str, ...]


def course_chart(courses: Mapping[str, Sequence[float]], axis: Axis, *, styles: Mapping[str, str], gap: float) -> Chart:
    """The courses in percent, methods in the order of reading; `styles` has a CSS class for each but the zero-shot.

    `gap` is the least distance of two names at the lines' ends. Quiet lines lie below the others.
    """
    frame = _frame(courses, axis, gap)
    points = {
        method: tuple((frame.x(place), frame.y(value)) for place, value in zip(axis.places, course, strict=True))
        for method, course in courses.items()
    }
    return Chart(
        title="All classes seen so far",
        number="",
        description=_describe(courses),
        frame=frame,
        lines=_lines(points, styles),
        x_ticks=tuple(Tick(frame.x(place), str(place)) for place in thinned(axis.places, TICKS)),
        y_ticks=tuple(Tick(frame.y(value), str(value)) for value in range(int(frame.y_min), 101, 10)),
        labels=_labels(courses, styles, frame, gap),
        hovers=_hovers(courses, axis, frame),
        zero_shot_path=path_of(points[ZERO_SHOT]),
        x_title=axis.title,
    )


def _frame(courses: Mapping[str, Sequence[float]], axis: Axis, gap: float) -> Frame:
    """From the first step to the last; the lower end is a ten below the lowest accuracy, so that near lines part."""
    lowest = min(min(course) for course in courses.values())
    first, last = axis.places[0], axis.places[-1]
    return Frame(
        width=760, height=max(380.0, gap * len(courses) + 70), left=44, right=196, top=14, bottom=52,
        x_min=float(first) if last > first else 0.0, x_max=last,
        y_min=10.0 * max(0, math.floor((lowest - 5) / 10)), y_max=100.0,
    )  # fmt: skip


def _lines(points: Mapping[str, tuple[Point, ...]], styles: Mapping[str, str]) -> tuple[Line, ...]:
    bare = QUIET in styles.values() or len(points[ZERO_SHOT]) > MARKED_STEPS
    quiet_first = sorted(styles, key=lambda method: styles[method] != QUIET)
    return tuple(
        Line(method, styles[method], path_of(points[method]), () if bare else points[method]) for method in quiet_first
    )


def _labels(
    courses: Mapping[str, Sequence[float]], styles: Mapping[str, str], frame: Frame, gap: float
) -> tuple[Label, ...]:
    """Accuracy and name at every line's end, moved apart."""
    heights = spread([frame.y(course[-1]) + 4 for course in courses.values()], gap, frame.top + 4, frame.y_end)
    return tuple(
        Label(
            method, f"{number(course[-1])} {short(label(method))}", styles.get(method, "reference"), frame.x_end + 8, y
        )
        for (method, course), y in zip(courses.items(), heights, strict=True)
    )


def _hovers(courses: Mapping[str, Sequence[float]], axis: Axis, frame: Frame) -> tuple[Hover, ...]:
    """A band around each step, half the way to its neighbours."""
    middles = [(frame.x(one) + frame.x(other)) / 2 for one, other in pairwise(axis.places)]
    edges = [float(frame.left), *middles, frame.x_end]
    hovers = []
    for at, (left, right) in enumerate(pairwise(edges)):
        rows = [axis.names[at], *(f"{label(method)}\t{number(course[at])}" for method, course in courses.items())]
        hovers.append(Hover(round(left, 1), round(right - left, 1), "\n".join(rows)))
    return tuple(hovers)


def _describe(courses: Mapping[str, Sequence[float]]) -> str:
    ends = ", ".join(f"{label(method)} {number(course[-1])}%" for method, course in courses.items())
    return f"Accuracy on all classes seen so far over {plural(len(courses[ZERO_SHOT]), 'step')}. At the end: {ends}."
