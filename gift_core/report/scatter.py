"""The chart of learned against kept: a point for each method, with its name beside the chart and a line to it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.charts import BOTTOM, TOP, Chart, Frame, axis_bounds, axis_ticks
from gift_core.report.labels import number, shorten
from gift_core.report.run_record import RunRecord, Section

NAME_GAP = 19.0  # between the names beside the chart


def learned_and_kept(record: RunRecord) -> Iterator[Section]:
    """Yields the section with the accuracy on the probes and on what was learned, of each last model."""
    if record.methods and record.probes:
        yield Section("learned", "Learned and kept", "learned_and_kept.html.j2", {"chart": _chart(record)})


def _chart(record: RunRecord) -> Chart:
    """Last against zero-shot kept. Two dashed lines cross at the zero-shot model."""
    methods = (*record.continued, ZERO_SHOT)
    kept = {method: record.scores[method]["probes"] or 0.0 for method in methods}
    learned = {method: record.scores[method]["last"] or 0.0 for method in methods}
    names = {method: record.label(method) for method in methods}
    x_low, x_high = axis_bounds([*kept.values()])
    y_low, y_high = axis_bounds([*learned.values()])
    frame = Frame(
        width=640, height=max(340, NAME_GAP * len(methods) + TOP + BOTTOM), left=46, right=206,
        x_min=x_low, x_max=x_high, y_min=y_low, y_max=y_high,
    )  # fmt: skip
    x, y = kept[ZERO_SHOT], learned[ZERO_SHOT]
    cross = [(x, y_low), (x, y_high), (x, math.nan), (x_low, y), (x_high, y)]
    texts = {name: f"Zero-shot kept\t{number(kept[name])}\nLast\t{number(learned[name])}" for name in methods}
    hovers: dict[float, str] = {}
    for method in sorted(methods, key=kept.__getitem__):
        above = f"{hovers[kept[method]]}\n" if kept[method] in hovers else ""
        hovers[kept[method]] = f"{above}{names[method]}\n{texts[method]}"
    values = "; ".join(f"{names[name]} {number(kept[name])} and {number(learned[name])}" for name in methods)
    return Chart(
        title="Learned and kept",
        description=f"Zero-shot kept and Last in percent: {values}.",
        frame=frame,
        curves={**{name: [(kept[name], learned[name])] for name in record.continued}, ZERO_SHOT: cross},
        styles=record.styles,
        x_title="zero-shot kept (%) →",
        x_ticks=axis_ticks(x_low, x_high),
        y_title="↑ Last (%)",
        y_ticks=axis_ticks(y_low, y_high),
        marked=True,
        ends={name: shorten(names[name]) for name in methods},
        gap=NAME_GAP,
        hovers=hovers,
    )
