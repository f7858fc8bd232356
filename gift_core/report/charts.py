"""The line charts of the pages, and the sections with accuracies over the task sequence.

Scales, paths, ticks and labels; templates/charts.html.j2 renders them as SVG. The accuracies are those of tasks, of
probes, and of all classes seen so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pandas as pd

from gift_core.method.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.colored_tables import accuracy_matrices, probe_table, published_matrices, step_table
from gift_core.report.highlight import QUIET, is_crowded, reading_order, styles_of
from gift_core.report.labels import label, number, shorten
from gift_core.report.run_record import RunRecord, Section

Point = tuple[float, float]
MAX_NARROW_NAME = 14  # characters that fit at the end of a line on a narrow screen
# The space of the texts around a plot, in view box units, for the largest font of the style sheet.
TOP, TOP_WITH_TRAINED, BOTTOM = 36.0, 50.0, 54.0
FEW_METHODS = 3  # with more methods, small charts print no value at the end of a line
MAX_MARKED = 25  # with more points, lines have no markers
MAX_TICKS = 12  # of the large charts and of the losses
MANY_TASKS = 8  # with more tasks, small charts label only some positions
Curves = Mapping[str, Sequence[float]]  # percent by method, in reading order; the last one is zero_shot


@dataclass(frozen=True)
class Frame:
    """The plot area of an SVG. Maps data (x_min to x_max, y_min to y_max) to view box units."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_max: float
    y_max: float
    x_min: float = 0.0
    y_min: float = 0.0

    @property
    def x_end(self) -> float:
        """The right edge of the plot area."""
        return self.width - self.right

    @property
    def y_end(self) -> float:
        """The lower edge of the plot area."""
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
    y_title: str
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
        lines = [(each, self.styles[each], svg_path(at), at if self.marked else ()) for each, at in placed.items()]
        return sorted(lines, key=lambda line: line[1] != QUIET)

    @property
    def labels(self) -> list[tuple[str, str, str, str, float]]:
        """(method, style, value, name, y) at the end of each line."""
        frame, values = self.frame, [self.curves[method][-1][1] for method in self.ends]
        wanted = [frame.y(value) + 4 for value in values]
        heights = spread_labels(wanted, self.gap, frame.top + 4, frame.y_end - 4)
        return [
            (method, self.styles.get(method, "reference"), number(value), name, height)
            for (method, name), value, height in zip(self.ends.items(), values, heights, strict=True)
        ]

    @property
    def bands(self) -> list[tuple[float, float, str]]:
        """(x, width, tooltip) of a band around each point that ends halfway to its neighbors."""
        middles = [(self.frame.x(one) + self.frame.x(other)) / 2 for one, other in pairwise(self.hovers)]
        edges = pairwise([float(self.frame.left), *middles, self.frame.x_end])
        found = zip(edges, self.hovers.values(), strict=False)  # without points, nothing is between the edges
        return [(round(left, 1), round(right - left, 1), text) for (left, right), text in found]

    @property
    def has_long_names(self) -> bool:
        """Whether the names at the ends of the lines do not fit beside the chart on a narrow screen."""
        return any(len(name) > MAX_NARROW_NAME for name in self.ends.values())


def svg_path(points: Sequence[Point]) -> str:
    """An SVG path through the points. A NaN breaks the line."""
    commands, pen_down = [], False
    for x, y in points:
        if not math.isnan(y):
            commands.append(f"{'L' if pen_down else 'M'}{x:g} {y:g}")
        pen_down = not math.isnan(y)
    return "".join(commands)


def spread_labels(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The heights, moved so that neighbors are at least `gap` apart. The order is kept, and all are in [low, high].

    Each height is the mean of two passes, one that pushes down and one that pushes up, so a crowd spreads to both
    sides. The gap shrinks if there is not enough room.
    """
    order = sorted(range(len(heights)), key=lambda index: (heights[index], index))
    gap = min(gap, (high - low) / max(len(heights) - 1, 1))
    rising = [heights[index] for index in order]
    down = _pushed(rising, gap, low, high)
    up = [-value for value in reversed(_pushed([-value for value in reversed(rising)], gap, -high, -low))]
    positions = {index: round((one + other) / 2, 1) for index, one, other in zip(order, down, up, strict=True)}
    return [positions[index] for index in range(len(heights))]


def _pushed(rising: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Pushes each value past the previous one, then all values back below `high`."""
    placed = list(rising)
    for index, value in enumerate(rising):
        placed[index] = max(value, placed[index - 1] + gap if index else low)
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], placed[index + 1] - gap if index + 1 < len(placed) else high)
    return placed


def thin_ticks(values: Sequence[int], most: int) -> list[int]:
    """The first, the last and every n-th value between them: at most `most` values, plus the last one.

    A value too close to the last one is left out.
    """
    step = math.ceil((len(values) - 1) / (most - 1)) if len(values) > most else 1
    kept = list(range(0, len(values), step))
    last = len(values) - 1
    if kept[-1] != last:
        kept = [*(index for index in kept if last - index > step / 2), last]
    return [values[index] for index in kept]


def round_ticks(largest: float) -> list[float]:
    """Tick values from 0 to at least `largest`, in steps of 1, 2 or 5 times a power of ten."""
    if not math.isfinite(largest) or largest <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** math.floor(math.log10(largest / 2))
    step = next(magnitude * factor for factor in (1, 2, 5, 10, 20) if largest / (magnitude * factor) <= 4)
    return [step * index for index in range(math.ceil(largest / step - 1e-9) + 1)]


def accuracies(record: RunRecord) -> Iterator[Section]:
    """Yields forgetting and the matrices of a task-incremental run, or the classes seen, and what probes show."""
    if not record.methods:
        return
    shown: dict[str, Any]
    if record.seen is None:
        steps = {task: step for step, task in enumerate(record.tasks, 1)}
        shown = _charts(record, "Mean accuracy over all tasks", record.matrices, steps)
        yield Section("forgetting", "Forgetting", "forgetting.html.j2", shown)
        matrices = accuracy_matrices(record, reading_order(record, record.methods))
        shown = {"matrices": matrices, "published_matrices": published_matrices(record)}
        yield Section("matrices", "Matrices", "matrices.html.j2", shown)
    else:
        shown = {"seen_chart": seen_chart(record, record.seen), "steps": step_table(record, record.seen)}
        yield Section("seen", "Classes seen", "seen_classes.html.j2", shown)
    if record.probes:
        shown = _charts(record, "Mean accuracy over the probes", record.probes, dict.fromkeys(record.probe_images))
        yield Section("probes", "Zero-shot kept", "probes.html.j2", shown | {"probes": probe_table(record)})


def _charts(
    record: RunRecord, title: str, percent: Mapping[str, pd.DataFrame], trained: Mapping[str, int | None]
) -> dict[str, Any]:
    """The mean of the columns of `percent`, a small chart of each, and how many of these are in a row.

    `trained`: the step that trains a column, None for a probe. Rows have 3 or 4 charts, whichever leaves fewer gaps.
    """
    charts = [_panel(record, percent, name, step) for name, step in trained.items()]
    columns = min((4, 3), key=lambda columns: (-len(charts) % columns, -columns))
    return {"overview": overview_chart(record, title, percent), "charts": charts, "columns": columns}


def seen_chart(record: RunRecord, seen: pd.DataFrame) -> Chart:
    """The accuracy of every method by the number of classes seen. `seen` is in percent, see RunScores."""
    steps = {
        count: f"After step {step} of {len(record.tasks)}\t{plural(count, 'class')}"
        for step, count in enumerate(record.classes_seen, 1)
    }
    curves = {method: seen[method].tolist() for method in (*reading_order(record, record.methods), ZERO_SHOT)}
    return seen_curve_chart(curves, "classes seen", steps, styles=styles_of(record), gap=_gap(record))


def seen_curve_chart(
    curves: Curves, x_title: str, steps: Mapping[int, str], *, styles: Mapping[str, str], gap: float
) -> Chart:
    """A chart of accuracies on all classes seen so far; y starts at a multiple of ten below the lowest one.

    Args:
        curves: see Curves.
        x_title: what the positions of the steps count.
        steps: the position of each step, and the heading of its tooltip.
        styles: the CSS class of each method except zero_shot. Quiet lines are below the others.
        gap: minimum distance between the names at the ends of the lines.
    """
    first, last = min(steps), max(steps)
    frame = Frame(
        width=760, height=max(400.0, gap * len(curves) + TOP + BOTTOM), left=44, right=206, top=TOP, bottom=BOTTOM,
        x_min=float(first) if last > first else 0.0, x_max=last,
        y_min=10.0 * max(0, math.floor((min(map(min, curves.values())) - 5) / 10)), y_max=100.0,
    )  # fmt: skip
    chart = _accuracy_chart("All classes seen so far", curves, frame, steps, styles, gap)
    return replace(chart, x_title=x_title, y_ticks={value: str(value) for value in range(int(frame.y_min), 101, 10)})


def overview_chart(record: RunRecord, title: str, percent: Mapping[str, pd.DataFrame]) -> Chart:
    """The mean of the columns after 0, 1, 2 ... tasks, with the method's name at the end of each line."""
    curves = {method: percent[method].mean(axis=1).tolist() for method in (*record.continued, ZERO_SHOT)}
    gap, tasks = _gap(record), len(record.tasks)
    height = max(340, gap * len(curves) + TOP + BOTTOM)
    frame = Frame(640, height, left=44, right=206, top=TOP, bottom=BOTTOM, x_max=tasks, y_max=100.0)
    steps = {0: "Before training"} | {at: f"After {at} {task}" for at, task in enumerate(record.tasks, 1)}
    return _accuracy_chart(title, curves, frame, steps, styles_of(record), gap)


def _panel(record: RunRecord, percent: Mapping[str, pd.DataFrame], name: str, trained: int | None) -> Chart:
    """A small chart of one column, the accuracy on a task over all steps."""
    curves = {method: percent[method][name].tolist() for method in (*record.continued, ZERO_SHOT)}
    few, tasks, steps = len(record.continued) <= FEW_METHODS, len(record.tasks), {0: "Before training"}
    frame = Frame(
        width=300, height=250, left=38, right=58 if few else 12, top=TOP if trained is None else TOP_WITH_TRAINED,
        bottom=BOTTOM, x_max=tasks, y_max=100.0,
    )  # fmt: skip
    for at, task in enumerate(record.tasks, 1):
        moment = "" if trained is None or at > trained else ", just trained" if at == trained else ", not trained yet"
        steps[at] = f"After {at} {task}{moment}"
    labeled = list(steps)
    if tasks > MANY_TASKS:  # only both ends and the step that trains the task, and not two ticks side by side
        labeled = [0, tasks] if trained is None else [0, trained, tasks] if trained + 1 < tasks else [0, trained]
    ends = dict.fromkeys(record.continued if few else (), "")
    chart = _accuracy_chart(name, curves, frame, steps, styles_of(record), 22, trained)
    return replace(chart, x_ticks={at: str(at) for at in labeled}, ends=ends)


def _gap(record: RunRecord) -> int:
    """The minimum distance between the names at the ends of the lines."""
    return 15 if is_crowded(record) else 19


def _accuracy_chart(
    title: str,
    curves: Curves,
    frame: Frame,
    steps: Mapping[int, str],
    styles: Mapping[str, str],
    gap: float,
    trained: int | None = None,
) -> Chart:
    """`steps`: the x of each point and the heading of its tooltip. `gap`, `trained`: see Chart."""
    moment = "" if trained is None else f", trained at position {trained} of {max(steps)}"
    at_end = ", ".join(f"{label(method)} {number(curve[-1])}%" for method, curve in curves.items())
    rows = {method: [f"{label(method)}\t{number(value)}" for value in curve] for method, curve in curves.items()}
    return Chart(
        title=title,
        description=f"{title}{moment}. Accuracy at the end: {at_end}.",
        frame=frame,
        curves={method: list(zip(steps, curve, strict=True)) for method, curve in curves.items()},
        styles=styles,
        x_title="tasks trained",
        x_ticks={at: str(at) for at in thin_ticks([*steps], MAX_TICKS)},
        y_title="accuracy (%)",
        y_ticks={value: str(value) for value in range(0, 101, 25)},
        marked=QUIET not in styles.values() and len(steps) <= MAX_MARKED,
        ends={method: shorten(label(method)) for method in curves},
        gap=gap,
        hovers={at: "\n".join(each) for at, *each in zip(steps, steps.values(), *rows.values(), strict=True)},
        trained=trained,
    )
