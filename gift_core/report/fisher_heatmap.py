"""Fisher information by layer: reads the files of a method and lays them out as a heatmap of layers and tasks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gift_core.artifacts.teacher_files import FISHER, read_fisher
from gift_core.report.accuracy_tables import HeatCell, HeatRow, HeatTable, shade
from gift_core.report.labels import label
from gift_core.report.run_record import RunRecord, Section

SHADE_FACTORS = (1.5, 3.0, 10.0, 30.0, 100.0)  # factors of the model's mean at which the next darker shade begins
RESNET_LAYER = re.compile(r"\blayer(\d+)\.(\d+)\.")
TIMM_STAGE = re.compile(r"\bstages\.(\d+)\.(?:blocks\.(\d+)\.)?")
EMBEDDING = re.compile(r"\b(?:patch_embed|stem)\b")
BLOCK = re.compile(r"\b(?:resblocks|blocks|layers?)\.(\d+)\.")
OUTPUT = re.compile(r"\b(?:proj|text_projection|attnpool|ln_post|ln_final|head|norm|pooler)\b")


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
