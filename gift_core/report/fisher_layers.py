"""The section of the Fisher information: the layers of the model by task, a heatmap for each method that needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gift_core.artifacts.teacher_files import FISHER, read_fisher
from gift_core.report.run_record import RunRecord, Section

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
    """Yields the section of the methods whose consolidation needs Fisher information.

    For each method: the estimator, and two tables of layers by task. `ratios` is the mean of a layer's weights relative
    to the model's, `shares` the layer's share of the total in percent. ContractError if a file is missing or damaged.
    """
    heatmaps = {}
    for method in record.methods_where(lambda row: row.consolidation.needs_fisher):
        sums, weights = dict[str, "pd.Series[float]"](), pd.Series(dtype=int)
        for task in record.tasks:  # one file is in memory at a time
            fisher = read_fisher(record.layout.teacher(method, task) / FISHER)
            layers = [layer_of(name) for name in fisher.diagonals]
            values = pd.Series([float(each.sum(dtype=np.float64)) for each in fisher.diagonals.values()], index=layers)
            sums[task] = values.groupby(level=0).sum()
            weights = pd.Series([each.size for each in fisher.diagonals.values()], index=layers).groupby(level=0).sum()
        table = pd.DataFrame(sums).sort_index()
        shares = table / table.sum().replace(0, 1)
        ratios = shares.div(weights, axis=0) * weights.sum()
        ratios.loc[:, table.sum() == 0] = 1.0  # where everything is 0, no layer differs from the mean
        heatmaps[method] = {"estimator": fisher.estimator, "ratios": ratios, "shares": 100 * shares}
    if heatmaps:
        yield Section("fisher", "Fisher information", "fisher.html.j2", {"heatmaps": heatmaps})
