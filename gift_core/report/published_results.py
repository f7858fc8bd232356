"""Published results of the benchmark that was run: the rows to show, and whether the zero-shot accuracies agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from gift_core.artifacts.report_json import ZeroShot
from gift_core.artifacts.task import TaskInfo
from gift_core.config.experiment import Config
from gift_core.config.tasks import CatalogueTaskConfig
from gift_core.method.metrics import ZERO_SHOT, summarize
from gift_core.quantities import plural
from gift_core.report.accuracies import RunScores
from gift_core.report.labels import number, signed, task_list, with_tasks
from gift_core.report.published import mtil
from gift_core.report.published.mtil import Benchmark

# The open_clip names of the published model; all load it with QuickGELU.
PUBLISHED_MODELS = (
    ("ViT-B-16", "openai"),
    ("ViT-B-16-quickgelu", "openai"),
    ("hf-hub:timm/vit_base_patch16_clip_224.openai", None),
)
# Percentage points. Published accuracies are rounded to 0.1. JPEG decoders, resizing and half precision change a data
# set by a few tenths. A different seeded 80/20 split changes Caltech101 (1,736 test images) by a standard error of 0.8.
# A wrong template or class order changes a data set by several points, a wrong activation function changes all of them.
DATA_SET_TOLERANCE = 1.0
MEAN_TOLERANCE = 0.5


@dataclass(frozen=True)
class PublishedMethod:
    """`scores`: percent by column of the result table. `matrix`: in percent, zero-shot row on top, if published."""

    method: str
    scores: Mapping[str, float]
    source: str
    matrix: pd.DataFrame | None


@dataclass(frozen=True)
class PublishedResults:
    """`methods` is empty if `withheld` gives reasons not to show the published rows."""

    benchmark: Benchmark
    methods: tuple[PublishedMethod, ...]
    withheld: tuple[str, ...]
    zero_shot: ZeroShot


def published_results(
    config: Config, infos: Mapping[str, TaskInfo], matrices: Mapping[str, pd.DataFrame]
) -> PublishedResults | None:
    """The published results of the run's benchmark, None if its sequence and protocol are not of a published benchmark.

    `infos`: each task.json that is on this machine.
    `matrices`: accuracies in percent with the row of the pre-trained model on top. A benchmark is recognized by the
    catalogue data sets of the sequence, whatever the tasks are called. Published rows are withheld for another model
    and for incomplete or few-shot data, also for fewer test images. Zero-shot is compared if model and test images are
    the published ones.
    """
    rows = {step.task: config.tasks[step.task] for step in config.sequence}
    tasks = {name: row for name, row in rows.items() if isinstance(row, CatalogueTaskConfig)}
    benchmark = mtil.benchmark_of([row.dataset for row in tasks.values()])
    if len(tasks) < len(rows) or benchmark is None or not config.evaluation.protocol.own_classes:
        return None
    reasons = tuple(_not_comparable(config, tasks, infos))
    if reasons:
        sentence = f"Zero-shot is not compared with the published {benchmark.title}: {'; '.join(reasons)}."
        check = ZeroShot(benchmark=benchmark.title, verdict="not compared", sentence=sentence)
    else:
        measured = pd.Series(matrices[ZERO_SHOT].iloc[0].to_numpy(dtype=float), index=list(benchmark.data_sets))
        check = check_zero_shot(benchmark, measured)
    shots = sorted({row.shots for row in tasks.values() if row.shots is not None})
    if shots:
        reasons += (f"the run is few-shot ({', '.join(map(str, shots))} training images per class)",)
    methods = () if reasons else tuple(_published_methods(benchmark, list(tasks)))
    return PublishedResults(benchmark, methods, reasons, check)


def _not_comparable(
    config: Config, tasks: Mapping[str, CatalogueTaskConfig], infos: Mapping[str, TaskInfo]
) -> Iterator[str]:
    """Yields why the zero-shot accuracies cannot be the published ones."""
    model, most = config.model, config.evaluation.max_images
    if (model.name, model.pretrained) not in PUBLISHED_MODELS:
        name = f"{model.name}, {model.pretrained}" if model.pretrained else model.name
        yield f"the published model is {mtil.MODEL}, this run used {name}"
    missing = [name for name in tasks if name not in infos]
    if missing:
        yield f"task.json is not on this machine ({task_list(missing, len(tasks))})"
        return
    reasons = {}
    for name, row in tasks.items():
        of_classes = [] if row.classes is None else [f"only {row.classes.count} of the classes"]
        notes = [note.rstrip(".") for note in infos[name].notes]
        reasons[name] = [*of_classes, *notes, *skipped_images(infos[name])]
    yield from with_tasks(reasons)
    if most is not None and any(infos[name].counts["test"] > most for name in tasks):
        yield f"the run was tested on at most {plural(most, 'test image')} of each task"


def skipped_images(info: TaskInfo) -> list[str]:
    """A note on the images that could not be read, if there are any."""
    return [f"{plural(len(info.skipped), 'unreadable image')} skipped"] if info.skipped else []


def check_zero_shot(benchmark: Benchmark, measured: pd.Series[float]) -> ZeroShot:
    """Compares zero-shot accuracies in percent by data set with the published ones.

    This is the first check of a reproduction: it needs no training. If most data sets differ, the model is the likely
    cause; if only a few do, their data are.
    """
    accuracies = pd.DataFrame({"measured": measured, "published": mtil.zero_shot(benchmark)}).loc[measured.index]
    differences = (accuracies["measured"] - accuracies["published"]).round(2)
    means = accuracies.mean()
    off = differences[differences.abs() > DATA_SET_TOLERANCE].sort_values(key=abs, ascending=False, kind="stable")
    agrees = off.empty and abs(round(float(means["measured"] - means["published"]), 2)) <= MEAN_TOLERANCE
    compared = f"the published {benchmark.title} ({mtil.MODEL}): mean {number(means['measured'])}%, published"
    compared += f" {number(means['published'])}%"
    rows = {str(name): {"measured": ours, "published": theirs} for name, ours, theirs in accuracies.itertuples()}
    check = ZeroShot(benchmark=benchmark.title, verdict="agrees", data_sets=rows)
    if agrees:
        largest = f"the largest difference of a data set is {number(differences.abs().max())} points"
        return check.model_copy(update={"sentence": f"Zero-shot agrees with {compared}; {largest}."})
    points = f"{DATA_SET_TOLERANCE:g} point"
    named = []
    for name, measured_here, published in accuracies.loc[off.index].itertuples():
        difference = signed(measured_here - published)
        named.append(f"{name} {number(measured_here)}, published {number(published)} ({difference})")
    problem = f"Data sets that differ by more than {points}: {'; '.join(named)}"
    if off.empty:
        problem = f"No data set differs by more than {points}, but the mean differs by more than {MEAN_TOLERANCE:g}"
    model = "QuickGELU (model.name and model.pretrained), resizing and normalization"
    likely = f"their templates, the order of their class names, their test split, then {model}"
    if off.empty or 2 * len(off) > len(differences):
        likely = f"{model}, then the templates"
    sentence = f"Zero-shot does not agree with {compared}. {problem}. Check first: {likely}."
    return check.model_copy(update={"verdict": "differs", "sentence": sentence})


def _published_methods(benchmark: Benchmark, tasks: list[str]) -> Iterator[PublishedMethod]:
    """The rows of the published table, where accuracies are published with Forgetting and Own task, which are computed.

    Then the best rows of recent.csv by Last: of plain CLIPs, and of models with adapters or a router if one is better.
    """
    accuracies = RunScores(summaries=summarize(mtil.accuracy_rows(benchmark)))
    for method, row in mtil.summary(benchmark).iterrows():
        columns = {name: float(row[name]) for name in mtil.METRICS}
        matrix = accuracies.matrices.get(str(method))
        if matrix is not None:
            columns |= {name: accuracies.scores[str(method)][name] or 0.0 for name in ("forgetting", "own")}
            matrix = matrix.set_axis(tasks, axis=1)
        yield PublishedMethod(str(method), columns, str(row["source"]), matrix)
    recent = mtil.recent(benchmark).dropna(subset=["last"]).sort_values("last", ascending=False, kind="stable")
    plain = recent[recent["kind"].str.startswith("plain CLIP")].iloc[:1]
    for method, row in pd.concat([plain, recent.iloc[:1].drop(plain.index, errors="ignore")]).iterrows():
        best = "plain CLIP" if method in plain.index else f"of any kind: {row['kind']}"
        source = f"{method} from {row['source']} (read from: {row['read_from']})"
        scores = {column: float(row[column]) for column in mtil.METRICS}
        yield PublishedMethod(f"{method} (best {best})", scores, source, None)
