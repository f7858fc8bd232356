"""What is published of the benchmark that was run: whether it may stand beside the run, and if zero-shot agrees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gift_core.artifacts.task import TaskInfo
from gift_core.artifacts.zero_shot_json import NO_BENCHMARK
from gift_core.config.experiment import Config
from gift_core.config.tasks import CatalogueTaskConfig
from gift_core.metrics import accuracy_matrix, metrics_by_method
from gift_core.published import mtil
from gift_core.published.mtil import Benchmark
from gift_core.report.accuracies import own_task
from gift_core.report.zero_shot_check import ZeroShotCheck, check_zero_shot, no_check

# Names of open_clip under which the model of the published rows is loaded; all with QuickGELU.
PUBLISHED_MODELS = (
    ("ViT-B-16", "openai"),
    ("ViT-B-16-quickgelu", "openai"),
    ("hf-hub:timm/vit_base_patch16_clip_224.openai", None),
)


@dataclass(frozen=True)
class PublishedMethod:
    """Figures in percent, by the result table's columns; `matrix`, where known, is A with the zero-shot row on top."""

    method: str
    figures: Mapping[str, float]
    source: str
    matrix: pd.DataFrame | None


@dataclass(frozen=True)
class BesidePublished:
    """`methods` is empty where `withheld` says why the published rows are not shown."""

    benchmark: Benchmark
    methods: tuple[PublishedMethod, ...]
    withheld: tuple[str, ...]
    zero_shot: ZeroShotCheck


def beside_published(
    config: Config, infos: Mapping[str, TaskInfo], zero_shot: pd.Series[float] | None
) -> BesidePublished | None:
    """What belongs beside the run; None where its sequence is no published benchmark.

    `zero_shot` holds the pre-trained model's accuracy on each task in percent, None in another protocol. A sequence is
    known by its catalogue data sets, whatever its tasks are called. The published rows are withheld where the model is
    another, or the data are not the whole data sets. Zero-shot is compared where the test images are all there.
    """
    rows = {step.task: config.tasks[step.task] for step in config.sequence}
    tasks = {name: row for name, row in rows.items() if isinstance(row, CatalogueTaskConfig)}
    benchmark = mtil.benchmark_of([row.dataset for row in tasks.values()])
    if len(tasks) < len(rows) or benchmark is None or zero_shot is None:
        return None
    cut, few = (*_other_model(config), *_cut(tasks, infos)), tuple(_few(tasks))
    measured = pd.Series(zero_shot.to_numpy(dtype=float), index=list(benchmark.data_sets))
    check = no_check(benchmark, cut) if cut else check_zero_shot(benchmark, measured)
    withheld = (*cut, *few)
    return BesidePublished(benchmark, () if withheld else _methods(benchmark, list(tasks)), withheld, check)


def as_json(beside: BesidePublished | None) -> dict[str, Any]:
    """What zero_shot.json holds."""
    if beside is None:
        return NO_BENCHMARK
    check = beside.zero_shot
    data_sets = {
        str(name): {"measured": float(measured), "published": float(published)}
        for name, measured, published in zip(check.measured.index, check.measured, check.published, strict=True)
    }
    head = {"benchmark": check.benchmark, "verdict": check.verdict, "sentence": check.sentence}
    return {**head, "data_sets": data_sets}


def _other_model(config: Config) -> Iterator[str]:
    model = config.model
    if (model.name, model.pretrained) not in PUBLISHED_MODELS:
        name = f"{model.name}, {model.pretrained}" if model.pretrained else model.name
        yield f"the published rows are of another model ({mtil.MODEL}; here {name})"


def _cut(tasks: Mapping[str, CatalogueTaskConfig], infos: Mapping[str, TaskInfo]) -> Iterator[str]:
    for name, row in tasks.items():
        if row.classes is not None:
            yield f"{name} has only {row.classes.count} of its classes"
        yield from (f"{name}: {note}" for note in infos[name].notes)
        if infos[name].skipped:
            yield f"{name}: unreadable images were skipped ({len(infos[name].skipped):,})"


def _few(tasks: Mapping[str, CatalogueTaskConfig]) -> Iterator[str]:
    shots = sorted({row.shots for row in tasks.values() if row.shots is not None})
    if shots:
        yield f"the run is few-shot ({', '.join(map(str, shots))} training images a class)"


def _methods(benchmark: Benchmark, tasks: list[str]) -> tuple[PublishedMethod, ...]:
    """The rows of the published table; Forgetting and own tasks are worked out where accuracies are known."""
    rows = mtil.accuracy_rows(benchmark)
    known = {str(method): accuracy_matrix(rows, str(method)) * 100 for method in rows["method"].unique()}
    forgetting = {method: row["forgetting"] for method, row in metrics_by_method(rows).items()} if known else {}
    untouched = known["zero_shot"].iloc[:1] if known else None
    methods = []
    for method, row in mtil.summary(benchmark).iterrows():
        figures = {name: float(row[name]) for name in mtil.METRICS}
        matrix = known.get(str(method))
        if matrix is not None:
            matrix = pd.concat([untouched, matrix]).set_axis(tasks, axis=1)
            figures |= {"forgetting": forgetting[str(method)] or 0.0, "own": own_task(matrix)}
        methods.append(PublishedMethod(str(method), figures, str(row["source"]), matrix))
    return tuple(methods)
