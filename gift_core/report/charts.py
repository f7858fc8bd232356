"""The line charts of the pages, and the sections with accuracies over the task sequence.

Scales, paths, ticks and labels; templates/charts.html.j2 renders them as SVG. The accuracies are those of tasks, of
probes, and of all classes seen so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from gift_core.method.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.labels import number, shorten
from gift_core.report.run_record import QUIET, RunRecord, Section

Point = tuple[float, float]
MAX_NARROW_NAME = 14  # characters that fit at the end of a line on a narrow screen
# The space of the texts around a plot, in view box units, for the largest font of the style sheet.
TOP = 36.0
TOP_WITH_TRAINED = 50.0
BOTTOM = 54.0
FEW_CURVES = 8  # with more curves, the names at their ends stand closer together
FEW_METHODS = 3  # with more methods, small charts print no value at the end of a line
MAX_MARKED = 25  # with more points, lines have no markers
MAX_TICKS = 12  # of the large charts and of the losses
SMALL_TICKS = 9  # of the small charts
Curves = Mapping[str, Sequence[float]]  # percent by method, in reading order; the last one is zero_shot


@dataclass(frozen=True)
class Frame:
    """The plot area of an SVG. Maps data (x_min to x_max, y_min to y_max) to view box units."""

    width: float
    height: float
    left: float
    right: float
    x_max: float
    y_max: float
    x_min: float = 0.0
    y_min: float = 0.0
    top: float = TOP
    bottom: float = BOTTOM

    @property
    def x_end(self) -> float:
        return self.width - self.right

    @property
    def y_end(self) -> float:
        return self.height - self.bottom

    def x(self, value: float) -> float:
        """The view box x of a value between x_min and x_max."""
        return round(self.left + (self.x_end - self.left) * (value - self.x_min) / (self.x_max - self.x_min), 1)

    def y(self, value: float) -> float:
        """The view box y of a value between y_min and y_max. Larger values are higher up."""
        return round(self.y_end - (self.y_end - self.top) * (value - self.y_min) / (self.y_max - self.y_min), 1)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One line chart, in units of the data.

    Attributes:
        title: what is shown; `description` says it in words, with the values.
        frame: the plot area.
        curves: the points of each method; a NaN breaks a line. That of zero_shot is dashed.
        styles: the CSS class of each method but zero_shot. Quiet lines are below the others.
        x_title, y_title: of the axes, with the texts of x_ticks and y_ticks.
        marked: whether the points have markers.
        ends: the methods whose last value is printed at the end of the line, with a name beside it, or "".
        gap: the least distance between these.
        hovers: the x of each point and its tooltip, one line per row.
        trained: the x where the task of the chart is trained.
        boundaries: the x of lines between tasks.
    """

    title: str
    description: str
    frame: Frame
    curves: Mapping[str, Sequence[Point]]
    styles: Mapping[str, str]
    x_title: str
    x_ticks: Mapping[float, str]
    y_title: str = "accuracy (%)"
    y_ticks: Mapping[float, str]
    marked: bool = False
    ends: Mapping[str, str] = field(default_factory=dict)
    gap: float = 0.0
    hovers: Mapping[float, str] = field(default_factory=dict)
    trained: float | None = None
    boundaries: Sequence[float] = ()

    def _placed(self, method: str) -> list[Point]:
        return [(self.frame.x(x), self.frame.y(y)) for x, y in self.curves.get(method, ())]

    @property
    def zero_shot_path(self) -> str:
        """The path of the zero-shot model, "" without one."""
        return svg_path(self._placed(ZERO_SHOT))

    @property
    def lines(self) -> list[tuple[str, str, str, Sequence[Point]]]:
        """(method, style, path, marked points) of each line, those that are to be above the others last."""
        placed = {method: self._placed(method) for method in self.curves if method != ZERO_SHOT}
        lines = [
            (name, self.styles[name], svg_path(points), points if self.marked else ())
            for name, points in placed.items()
        ]
        return sorted(lines, key=lambda line: line[1] != QUIET)

    @property
    def labels(self) -> list[tuple[str, str, str, str, float, Point]]:
        """(method, style, value, name, y, last point) at the end of each line."""
        frame, values = self.frame, [self.curves[method][-1][1] for method in self.ends]
        wanted = [frame.y(value) + 4 for value in values]
        heights = spread_labels(wanted, self.gap, frame.top + 4, frame.y_end - 4)
        return [
            (method, self.styles.get(method, "reference"), number(value), name, height, self._placed(method)[-1])
            for (method, name), value, height in zip(self.ends.items(), values, heights, strict=True)
        ]

    @property
    def bands(self) -> list[tuple[float, float, str]]:
        """(x, width, tooltip) of a band around each point that ends halfway to its neighbors."""
        middles = [(self.frame.x(left) + self.frame.x(right)) / 2 for left, right in pairwise(self.hovers)]
        edges = pairwise([float(self.frame.left), *middles, self.frame.x_end])
        tips = zip(edges, self.hovers.values(), strict=False)  # without points, nothing is between the edges
        return [(round(left, 1), round(right - left, 1), text) for (left, right), text in tips]

    @property
    def has_long_names(self) -> bool:
        """Whether the names at the ends of the lines do not fit beside the chart on a narrow screen."""
        return any(len(name) > MAX_NARROW_NAME for name in self.ends.values())


def svg_path(points: Sequence[Point]) -> str:
    """An SVG path through the points. A NaN breaks the line."""
    steps = [(x, y, math.isnan(before)) for (_, before), (x, y) in pairwise([(0.0, math.nan), *points])]
    return "".join(f"{'M' if starts else 'L'}{x:g} {y:g}" for x, y, starts in steps if not math.isnan(y))


def spread_labels(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The heights, moved so that neighbors are at least `gap` apart. The order is kept, and all are in [low, high].

    Each height is the mean of pushing the lower ones up and the upper ones down, so a crowd spreads to both sides. The
    gap shrinks if there is not enough room.
    """
    gap = min(gap, (high - low) / max(len(heights) - 1, 1))
    gaps = gap * np.arange(len(heights))
    order = np.argsort(heights, kind="stable")
    rising = np.array(heights)[order] - gaps  # without the gaps it is enough that no height is below the one before
    both = np.maximum.accumulate(rising), np.minimum.accumulate(rising[::-1])[::-1]
    placed = np.mean(np.clip(both, low, high - gap * (len(heights) - 1)), axis=0) + gaps
    return [round(float(placed[at]), 1) for at in np.argsort(order)]


def thin_ticks(values: Sequence[int], most: int) -> list[int]:
    """The first, the last and every n-th value between them: at most `most` values, plus the last one.

    A value too close to the last one is left out.
    """
    last = len(values) - 1
    step = math.ceil(last / (most - 1)) if last >= most else 1
    return [value for at, value in enumerate(values) if at == last or (at % step == 0 and last - at > step / 2)]


def round_ticks(largest: float) -> list[float]:
    """Tick values from 0 to at least `largest`, in steps of 1, 2 or 5 times a power of ten."""
    if not math.isfinite(largest) or largest <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** math.floor(math.log10(largest / 2))
    step = next(magnitude * factor for factor in (1, 2, 5, 10, 20) if largest / (magnitude * factor) <= 4)
    return [step * index for index in range(math.ceil(largest / step - 1e-9) + 1)]


def axis_bounds(values: Sequence[float], least_margin: float = 0.0) -> tuple[float, float]:
    """The least and the greatest value with some space, at least `least_margin`."""
    low, high = min(values) - least_margin, max(values) + least_margin
    margin = max(0.05 * (high - low), 0.1)
    return low - margin, high + margin


def axis_ticks(low: float, high: float) -> dict[float, str]:
    """Round values between the bounds, about twice as many as a small chart has, with their texts."""
    step = round_ticks((high - low) / 2)[1]
    values = [round(step * index, 9) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return {value: f"{value:g}" for value in values}


def accuracies(record: RunRecord) -> Iterator[Section]:
    """Yields forgetting and the matrices of a task-incremental run, or the classes seen, and what probes show."""
    if not record.methods:
        return
    methods = record.reading_order(record.methods)
    if record.seen is None:
        steps = {task: step for step, task in enumerate(record.tasks, 1)}
        shown = _charts(record, "Mean accuracy over all tasks", record.matrices, steps)
        yield Section("forgetting", "Forgetting", "forgetting.html.j2", shown)
        yield Section("matrices", "Matrices", "matrices.html.j2", {"methods": methods})
    else:
        rows = [
            (step, task, count, record.seen.loc[task], f"step {step}")
            for step, (task, count) in enumerate(zip(record.tasks, record.classes_seen, strict=True), 1)
        ]
        curves = {method: record.seen[method].tolist() for method in (*methods, ZERO_SHOT)}
        shown = {"seen_chart": _seen_chart(record, curves), "steps": rows, "methods": methods}
        yield Section("seen", "Classes seen", "seen_classes.html.j2", shown)
    if record.probes:
        shown = _charts(record, "Mean accuracy over the probes", record.probes, dict.fromkeys(record.probe_images))
        end = pd.DataFrame({method: record.probes[method].iloc[-1] for method in (*record.continued, ZERO_SHOT)})
        images = record.probe_images  # (number, name, images, accuracies after the last step, when) of each, and all
        probes = [("", name, count, end.loc[name], f"all tasks, on {name}") for name, count in images.items()]
        if len(probes) > 1:
            probes.append(("", "mean", sum(images.values()), end.mean(), "all tasks"))
        shown |= {"probes": probes, "methods": record.reading_order(record.continued)}
        yield Section("probes", "Zero-shot kept", "probes.html.j2", shown)


def _charts(
    record: RunRecord, title: str, percent: Mapping[str, pd.DataFrame], trained: Mapping[str, int | None]
) -> dict[str, Any]:
    """The mean of the columns of `percent`, a small chart of each, and how many of these are in a row.

    `trained`: the step that trains a column, None for a probe. Rows have 3 or 4 charts, whichever leaves fewer gaps.
    """
    methods = (*record.continued, ZERO_SHOT)
    steps = {0: "Before training"} | {at: f"After {at} {task}" for at, task in enumerate(record.tasks, 1)}
    means = {method: percent[method].mean(axis=1).tolist() for method in methods}
    overview = _accuracy_chart(record, title, means, steps, size=(640, 340))
    charts = []
    for name, step in trained.items():
        moments = dict(steps)
        if step is not None:
            moments |= {at: f"{steps[at]}, not trained yet" for at in range(1, step)}
            moments[step] = f"{steps[step]}, just trained"
        curves = {method: percent[method][name].tolist() for method in methods}
        charts.append(_accuracy_chart(record, name, curves, moments, is_small=True, trained=step))
    columns = min((4, 3), key=lambda columns: (-len(charts) % columns, -columns))
    return {"overview": overview, "charts": charts, "columns": columns}


def _seen_chart(record: RunRecord, curves: Curves) -> Chart:
    """Accuracies on all classes seen so far; y starts at a multiple of ten below the lowest one."""
    steps = len(record.tasks)
    moments = {
        count: f"After step {step} of {steps}\t{plural(count, 'class')}"
        for step, count in enumerate(record.classes_seen, 1)
    }
    low = 10 * max(0, math.floor((min(map(min, curves.values())) - 5) / 10))
    title, ticks = "All classes seen so far", range(low, 101, 10)
    return _accuracy_chart(record, title, curves, moments, size=(760, 400), x_title="classes seen", y_ticks=ticks)


def _accuracy_chart(
    record: RunRecord,
    title: str,
    curves: Curves,
    steps: Mapping[int, str],
    *,
    size: tuple[float, float] = (300, 250),
    x_title: str = "tasks trained",
    is_small: bool = False,
    y_ticks: Sequence[int] = range(0, 101, 25),
    trained: int | None = None,
) -> Chart:
    """A line of percents for each method. `steps`: the x of each point and the heading of its tooltip.

    `size`: width and height, higher if the names at the ends need it. A small chart has no names.
    """
    styles, labels = record.styles, record.labels
    ends = {method: shorten(labels[method]) for method in curves}
    gap = 19 if len(curves) <= FEW_CURVES else 15
    left, right = 44, 206
    if is_small:
        shown = [method for method in curves if method != ZERO_SHOT]
        are_few = len(shown) <= FEW_METHODS
        ends = dict.fromkeys(shown if are_few else (), "")
        gap = 22
        left, right = 38, 58 if are_few else 12
    first, last = min(steps), max(steps)
    frame = Frame(
        width=size[0], height=max(size[1], gap * len(ends) + TOP + BOTTOM), left=left, right=right,
        top=TOP if trained is None else TOP_WITH_TRAINED,
        x_min=first if last > first else 0, x_max=last, y_min=y_ticks[0], y_max=100,
    )  # fmt: skip
    moment = "" if trained is None else f", trained at position {trained} of {last}"
    at_end = ", ".join(f"{labels[method]} {number(curve[-1])}%" for method, curve in curves.items())
    rows = {method: [f"{labels[method]}\t{number(value)}" for value in curve] for method, curve in curves.items()}
    return Chart(
        title=title,
        description=f"{title}{moment}. Accuracy at the end: {at_end}.",
        frame=frame,
        curves={method: list(zip(steps, curve, strict=True)) for method, curve in curves.items()},
        styles=styles,
        x_title=x_title,
        x_ticks={at: str(at) for at in thin_ticks([*steps], SMALL_TICKS if is_small else MAX_TICKS)},
        y_ticks={value: str(value) for value in y_ticks},
        marked=QUIET not in styles.values() and len(steps) <= MAX_MARKED,
        ends=ends,
        gap=gap,
        hovers={at: "\n".join(lines) for at, *lines in zip(steps, steps.values(), *rows.values(), strict=True)},
        trained=trained,
    )
