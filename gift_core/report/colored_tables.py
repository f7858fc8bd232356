"""The section with the result, and tables whose cells are colored: by the difference to zero-shot or by a ratio.

The latter are the section of the Fisher information: layers by task.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gift_core.artifacts.teacher_files import FISHER, read_fisher
from gift_core.method.metrics import ZERO_SHOT
from gift_core.published.mtil import MODEL
from gift_core.report.accuracies import SEPARATE_MODEL_COLUMNS, accuracy_interval
from gift_core.report.facts import data_notes, differences
from gift_core.report.highlight import reading_order, styles_of
from gift_core.report.labels import COLUMN_TITLES, LOWER_IS_BETTER, label, number, signed
from gift_core.report.published_results import DATA_SET_TOLERANCE, data_set_rows
from gift_core.report.run_record import RunRecord, Section

SHADE_POINTS = (1.0, 5.0, 10.0, 20.0, 35.0)  # percentage points at which the next darker shade begins
FEW_TASKS = 7  # with more tasks, cells show whole percents
SHADE_FACTORS = (1.5, 3.0, 10.0, 30.0, 100.0)  # factors of the model's mean at which the next darker shade begins
RESNET_LAYER = re.compile(r"\blayer(\d+)\.(\d+)\.")
TIMM_STAGE = re.compile(r"\bstages\.(\d+)\.(?:blocks\.(\d+)\.)?")
EMBEDDING = re.compile(r"\b(?:patch_embed|stem)\b")
BLOCK = re.compile(r"\b(?:resblocks|blocks|layers?)\.(\d+)\.")
OUTPUT = re.compile(r"\b(?:proj|text_projection|attnpool|ln_post|ln_final|head|norm|pooler)\b")


@dataclass(frozen=True)
class ResultCell:
    """A value as printed, whether it is the best of its column, and what is below it.

    Below Last it is the 95% interval for the number of test images, below the accuracy on probes the difference to
    zero-shot.
    """

    text: str
    best: bool
    below: str = ""


@dataclass(frozen=True)
class ResultRow:
    """A row of the result table; `style` is a CSS class."""

    method: str
    name: str
    style: str
    cells: tuple[ResultCell, ...]


def result(record: RunRecord) -> Iterator[Section]:
    """Yields the section with the result table."""
    shown = {
        "notes": data_notes(record),
        "differences": differences(record),
        "titles": [COLUMN_TITLES[column] for column in record.columns],
        "rows": result_rows(record),
        "reference_rows": reference_rows(record),
        "published_rows": published_rows(record),
        "published_matrices": published_matrices(record),
        "check_rows": data_set_rows(record.published.zero_shot.accuracies) if record.published else {},
        "tolerance": f"{DATA_SET_TOLERANCE:g}",
        "model_of_published": MODEL,
    }
    yield Section("result", "Result", "result.html.j2", shown)


def result_rows(record: RunRecord) -> list[ResultRow]:
    """The zero-shot row, then the contenders in the order of params.yaml. The best value of each column is marked."""
    best = {}
    for column in record.columns:
        values = [record.scores[method][column] for method in record.contenders]
        defined = [value for value in values if value is not None and not math.isnan(value)]
        if len(defined) > 1:  # methods that print the same are all marked
            best[column] = number(min(defined) if column in LOWER_IS_BETTER else max(defined))
    return [_result_row(record, method, best) for method in (ZERO_SHOT, *record.contenders)]


def reference_rows(record: RunRecord) -> list[ResultRow]:
    """The upper references, never marked as best. With a separate model per task, only Own task has a value."""
    return [_result_row(record, method, {}) for method in record.references]


def published_rows(record: RunRecord) -> list[ResultRow]:
    """Published results of the same benchmark in the order of their table, empty if there are none to show."""
    published = record.published.methods if record.published else ()
    return [ResultRow(row.method, label(row.method), "", _cells(record, row.scores, {}, {})) for row in published]


def _result_row(record: RunRecord, method: str, best: Mapping[str, str]) -> ResultRow:
    """Below Last is its 95% interval in percent for its number of test images: `76.4–83.2`."""
    scores, below, images = record.scores[method], dict[str, str](), record.test_images
    if method in record.separate_models:
        scores = {column: scores[column] for column in SEPARATE_MODEL_COLUMNS}
    else:
        percents, counts = [float(scores["last"] or 0.0)], [images[record.tasks[-1]]]
        if record.seen is None:
            percents, counts = record.matrices[method].iloc[-1].tolist(), list(images.values())
        below["last"] = "–".join(map(number, accuracy_interval(percents, counts)))
    if method == ZERO_SHOT:
        return ResultRow(method, label(method), "reference", _cells(record, scores, {}, below))
    if record.probes and method not in record.separate_models:
        below["probes"] = signed(-record.metrics[method]["probes"]["loss"])
    return ResultRow(method, label(method), styles_of(record)[method], _cells(record, scores, best, below))


def _cells(
    record: RunRecord, scores: Mapping[str, float | None], best: Mapping[str, str], below: Mapping[str, str]
) -> tuple[ResultCell, ...]:
    texts = {column: number(scores.get(column)) for column in record.columns}
    return tuple(ResultCell(text, text == best.get(column), below.get(column, "")) for column, text in texts.items())


@dataclass(frozen=True)
class HeatCell:
    """A value, the CSS class of its color, and its tooltip. `own`: the row has just trained the task of the column."""

    text: str
    shade: str
    exact: str
    own: bool = False


@dataclass(frozen=True)
class HeatRow:
    """A row: its number or group, its name, its colored cells, and the texts of its cells without color."""

    number: str
    name: str
    cells: Sequence[HeatCell]
    plain: Sequence[str]


@dataclass(frozen=True)
class HeatTable:
    """A table: its title, a note to it, the headings of its columns, and its rows."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[HeatRow]


def shade(up: bool, size: float, thresholds: Sequence[float]) -> str:
    """The CSS class of a color: gain1 to gain5 or loss1 to loss5 by the thresholds that the size reaches, or same."""
    depth = sum(size >= threshold for threshold in thresholds)
    return f"{'gain' if up else 'loss'}{depth}" if depth else "same"


def accuracy_matrices(record: RunRecord, methods: Iterable[str]) -> dict[str, HeatTable]:
    """The matrices of these methods, each with the row of the pre-trained model on top and the mean at the end."""
    found = {}
    for method in methods:
        column = "own" if method in record.separate_models else "last"
        note = f"{'Own task' if column == 'own' else 'Last'} {number(record.scores[method][column])}"
        found[method] = _matrix(method, record.matrices[method], note)
    return found


def published_matrices(record: RunRecord) -> dict[str, HeatTable]:
    """The matrices of the methods whose accuracies are published, each with the published zero-shot row on top."""
    return {
        row.method: _matrix(row.method, row.matrix, f"Last {number(row.scores['last'])}")
        for row in (record.published.methods if record.published else ())
        if row.matrix is not None and row.method != ZERO_SHOT
    }


def _matrix(method: str, percent: pd.DataFrame, note: str) -> HeatTable:
    tasks, values, rows = [str(task) for task in percent.columns], percent.to_numpy(dtype=float), []
    for step, (name, accuracies) in enumerate(zip(("zero-shot", *tasks), values, strict=True)):
        moment = f"after {name}" if step else "before training"
        cells = [
            _accuracy_cell(f"{task} {moment}", value, zero_shot, few=len(tasks) <= FEW_TASKS, own=step == position)
            for position, (task, value, zero_shot) in enumerate(zip(tasks, accuracies, values[0], strict=True), 1)
        ]
        rows.append(HeatRow(str(step or ""), name, cells, [number(float(accuracies.mean()))]))
    return HeatTable(label(method), note, tasks, rows)


def _accuracy_cell(what: str, percent: float, zero_shot: float, *, few: bool = True, own: bool = False) -> HeatCell:
    difference = percent - zero_shot
    exact = f"{what}\t{number(percent)}\nto zero-shot\t{signed(difference)}"
    text = number(percent) if few else f"{percent:.0f}"
    return HeatCell(text, shade(difference > 0, abs(difference), SHADE_POINTS), exact, own)


def step_table(record: RunRecord, seen: pd.DataFrame) -> HeatTable:
    """A class-incremental run: the accuracies after every step. `seen` is in percent, see RunScores."""
    rows = [
        (str(step), task, count, seen.loc[task], f"step {step}")
        for step, (task, count) in enumerate(zip(record.tasks, record.classes_seen, strict=True), 1)
    ]
    caption = "Accuracy in percent on all classes seen so far, after every step"
    return _by_method(caption, ("step", "classes"), reading_order(record, record.methods), rows)


def probe_table(record: RunRecord) -> HeatTable:
    """The accuracies on each probe, a task that no step learns, after the last step, and their mean."""
    methods = reading_order(record, record.continued)
    end = pd.DataFrame({method: record.probes[method].iloc[-1] for method in (*methods, ZERO_SHOT)})
    images = record.probe_images
    rows = [("", name, count, end.loc[name], f"all tasks, on {name}") for name, count in images.items()]
    if len(rows) > 1:
        rows.append(("", "mean", sum(images.values()), end.mean(), "all tasks"))
    return _by_method("Accuracy on each probe after the last step", ("probe", "images"), methods, rows)


def _by_method(
    caption: str,
    titles: tuple[str, str],
    methods: Sequence[str],
    rows: Iterable[tuple[str, str, int, pd.Series[float], str]],
) -> HeatTable:
    """A column for each method after a count and zero-shot. A row: number, name, count, accuracies, when."""
    found = []
    for number_, name, count, percent, moment in rows:
        zero_shot = percent[ZERO_SHOT]
        cells = [_accuracy_cell(f"{label(each)} after {moment}", percent[each], zero_shot) for each in methods]
        found.append(HeatRow(number_, name, cells, (f"{count:,}", number(zero_shot))))
    return HeatTable(caption, "", (*titles, "Zero-shot", *map(label, methods)), found)


@dataclass(frozen=True, order=True)
class Layer:
    """A layer of a tower (image, text, or both for shared parameters). Layers sort by position in the forward pass."""

    tower: str
    position: tuple[int, int, int]
    name: str


def layer_of(parameter: str) -> Layer:
    """The layer of an open_clip parameter, by its name."""
    tower = "image" if parameter.startswith("visual.") else "text"
    if stage := RESNET_LAYER.search(parameter):
        number, block = int(stage[1]), int(stage[2])
        return Layer(tower, (1, number, block), f"stage {number} block {block + 1}")
    if stage := TIMM_STAGE.search(parameter):
        number, block = int(stage[1]) + 1, int(stage[2] or -1) + 1
        return Layer(tower, (1, number, block), f"stage {number} {f'block {block}' if block else 'downsampling'}")
    if block_of := BLOCK.search(parameter):
        return Layer(tower, (1, int(block_of[1]), 0), f"block {int(block_of[1]) + 1}")
    if parameter == "logit_scale":
        return Layer("both", (0, 0, 0), "temperature")
    if OUTPUT.search(parameter) and not EMBEDDING.search(parameter):
        return Layer(tower, (2, 0, 0), "projection")
    return Layer(tower, (0, 0, 0), "embedding")


def fisher_heatmaps(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the methods whose consolidation needs Fisher information."""
    heatmaps = []
    for method in record.methods_where(lambda row: row.consolidation.needs_fisher):
        heatmaps.append(fisher_heatmap(method, {task: record.layout.teacher(method, task) for task in record.tasks}))
    if heatmaps:
        yield Section("fisher", "Fisher information", "fisher.html.j2", {"heatmaps": heatmaps})


def fisher_heatmap(method: str, folders: Mapping[str, Path]) -> HeatTable:
    """The layers by task: each mean relative to the model's, and at the end the share of the total.

    `folders`: of the teachers by task. A row has the name of its tower if the row above has another one. ContractError
    if a file is missing or damaged.
    """
    sums, weights = dict[str, dict[Layer, float]](), dict[Layer, int]()
    for task, folder in folders.items():  # one file is in memory at a time
        fisher, sums[task], weights = read_fisher(folder / FISHER), {}, {}
        for name, values in fisher.diagonals.items():
            layer = layer_of(name)
            sums[task][layer] = sums[task].get(layer, 0.0) + float(values.sum(dtype=np.float64))
            weights[layer] = weights.get(layer, 0) + values.size
    totals = {task: sum(of_task[layer] for layer in sorted(of_task)) for task, of_task in sums.items()}
    rows, tower = [], ""
    for layer in sorted(weights):
        shares = {task: 100.0 * sums[task][layer] / (total or 1.0) for task, total in totals.items()}
        cells = []
        for task, share in shares.items():
            mean = totals[task] / sum(weights.values())  # a mean of 0: everything is 0
            ratio = sums[task][layer] / weights[layer] / mean if mean else 1.0
            exact = [
                f"{layer.tower} {layer.name}, before {task}",
                f"mean per weight\t{ratio:.3g} × the model mean",
                f"share of the total\t{share:.1f}%",
            ]
            color = shade(ratio > 1, max(ratio, 1 / ratio if ratio else math.inf), SHADE_FACTORS)
            cells.append(HeatCell(ratio_text(ratio), color, "\n".join(exact)))
        mean_share = f"{sum(shares.values()) / len(shares):.1f}%"
        rows.append(HeatRow("" if layer.tower == tower else layer.tower, layer.name, cells, [mean_share]))
        tower = layer.tower
    return HeatTable(label(method), fisher.estimator.replace("_", " "), [*folders], rows)


def ratio_text(ratio: float) -> str:
    """The ratio in at most four characters without an exponent: 120, 12, 1.2, 0.12, <.01."""
    if ratio < 0.01:
        return "0" if ratio == 0 else "<.01"
    return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2}f}"
