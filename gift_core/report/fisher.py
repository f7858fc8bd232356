"""Which layers the past depends on: a Fisher file's diagonals summed up by layer, and the heat table of them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from gift_core.artifacts.atomic import broken, require_file
from gift_core.artifacts.fisher import KEY, STAGE
from gift_core.report.record import FisherProfile, Layer, RunRecord
from gift_core.report.words import label

SHADES = (1.5, 3.0, 10.0, 30.0, 100.0)  # times the model's mean at which the next deeper shade begins
STAGE_OF_RESNET = re.compile(r"\blayer(\d+)\.(\d+)\.")
BLOCK = re.compile(r"\b(?:resblocks|blocks|layers?)\.(\d+)\.")
OUTPUT = re.compile(r"\b(?:proj|text_projection|attnpool|ln_post|ln_final|head|norm|pooler)\b")


@dataclass(frozen=True)
class FisherCell:
    """A layer before a task: times the model's mean in print, its CSS class, and what the pointer shows."""

    text: str
    shade: str
    exact: str


@dataclass(frozen=True)
class FisherRow:
    """A layer: its tower where that begins, a cell a task, and its share of the model's whole Fisher information."""

    tower: str
    name: str
    cells: tuple[FisherCell, ...]
    share: str


@dataclass(frozen=True)
class FisherTable:
    """One method's layers, how the diagonals were estimated."""

    title: str
    estimator: str
    rows: tuple[FisherRow, ...]


def layer_of(parameter: str) -> Layer:
    """The tower and the layer of a parameter of open_clip's, by its name, in the order in which data passes them."""
    tower = "image" if parameter.startswith("visual.") else "text"
    if stage := STAGE_OF_RESNET.search(parameter):
        number, block = int(stage[1]), int(stage[2])
        return Layer(tower, (1, number, block), f"stage {number} block {block + 1}")
    if block_of := BLOCK.search(parameter):
        return Layer(tower, (1, int(block_of[1]), 0), f"block {int(block_of[1]) + 1}")
    if parameter == "logit_scale":
        return Layer("both", (0, 0, 0), "temperature")
    if OUTPUT.search(parameter):
        return Layer(tower, (2, 0, 0), "projection")
    return Layer(tower, (0, 0, 0), "embedding")


def read_profile(path: Path) -> FisherProfile:
    """The sums and weights of each layer of a Fisher file; one tensor at a time is in memory. ContractError if bad."""
    require_file(path, STAGE)
    sums: dict[Layer, float] = {}
    weights: dict[Layer, int] = {}
    try:
        with safe_open(path, framework="np") as file:
            estimator = str(json.loads((file.metadata() or {})[KEY])["estimator"])
            for name in sorted(file.keys()):
                layer, values = layer_of(name), file.get_tensor(name)
                sums[layer] = sums.get(layer, 0.0) + float(values.sum(dtype=np.float64))
                weights[layer] = weights.get(layer, 0) + values.size
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise broken(path, f"it should be a Fisher file that names its estimator ({error!r})", STAGE) from error
    if not sums or not all(math.isfinite(total) and total >= 0 for total in sums.values()):
        raise broken(path, "there should be diagonals, finite and >= 0", STAGE)
    order = sorted(sums)
    return FisherProfile(estimator, {layer: sums[layer] for layer in order}, {layer: weights[layer] for layer in order})


def fisher_tables(record: RunRecord) -> list[FisherTable]:
    """A table a method that has Fisher files: layers down, tasks across."""
    return [_table(record, method, profiles) for method, profiles in record.fisher.items()]


def _table(record: RunRecord, method: str, profiles: tuple[FisherProfile, ...]) -> FisherTable:
    relative = [relative_means(profile) for profile in profiles]
    shares = [_shares(profile) for profile in profiles]
    rows, tower = [], ""
    for layer in profiles[0].sums:
        cells = tuple(
            _cell(layer, task, means[layer], share[layer])
            for task, means, share in zip(record.tasks, relative, shares, strict=True)
        )
        mean_share = sum(share[layer] for share in shares) / len(shares)
        rows.append(FisherRow("" if layer.tower == tower else layer.tower, layer.name, cells, f"{mean_share:.1f}%"))
        tower = layer.tower
    return FisherTable(label(method), profiles[0].estimator.replace("_", " "), tuple(rows))


def relative_means(profile: FisherProfile) -> dict[Layer, float]:
    """Each layer's mean Fisher information a weight over the model's; 1 everywhere where all is zero."""
    mean = sum(profile.sums.values()) / sum(profile.weights.values())
    return {layer: total / profile.weights[layer] / mean if mean else 1.0 for layer, total in profile.sums.items()}


def shade_of_ratio(ratio: float) -> str:
    """The CSS class of a ratio to the model's mean: same, gain1..gain5 above it, loss1..loss5 below it."""
    factor = max(ratio, 1 / ratio if ratio else math.inf)
    depth = sum(factor >= threshold for threshold in SHADES)
    return f"{'gain' if ratio > 1 else 'loss'}{depth}" if depth else "same"


def ratio_text(ratio: float) -> str:
    """Short, without an exponent: 120, 12, 1.2, 0.12, 0.01; what rounds to nothing is said to be less than 0.01."""
    if ratio < 0.01:
        return "0" if ratio == 0 else "<.01"
    return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2}f}"


def _shares(profile: FisherProfile) -> dict[Layer, float]:
    whole = sum(profile.sums.values())
    return {layer: 100.0 * total / whole if whole else 0.0 for layer, total in profile.sums.items()}


def _cell(layer: Layer, task: str, ratio: float, share: float) -> FisherCell:
    exact = [
        f"{layer.tower} {layer.name}, before {task}",
        f"a weight counts\t{ratio:.3g} × the mean",
        f"share of all\t{share:.1f}%",
    ]
    return FisherCell(ratio_text(ratio), shade_of_ratio(ratio), "\n".join(exact))
