"""A finished run as one RunRecord, and what a module of the report makes of it: the sections of the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, product
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from gift_core.artifacts.accuracy import PROBE, environment_of
from gift_core.artifacts.model_folder import read_provenance
from gift_core.artifacts.report_json import rounded
from gift_core.artifacts.shards import read_manifest
from gift_core.artifacts.task import PAIRS, StoredImage, TaskInfo, index_tars, read_task
from gift_core.artifacts.teacher_files import read_source
from gift_core.config.experiment import Config
from gift_core.config.method_options import MethodConfig
from gift_core.errors import UserError, lookup
from gift_core.layout import Layout
from gift_core.method.metrics import ZERO_SHOT
from gift_core.mini.miniature import Miniature, miniature_of
from gift_core.report.accuracies import Metadata, RunScores, read_accuracies, score_run
from gift_core.report.labels import labels_of
from gift_core.report.published_results import PublishedResults, published_results

COLORS = 6  # color-blind safe hues in page.css
QUIET = "quiet"
MAX_TASKS = 12  # of a longer sequence are shown in pictures
MAX_TARS = 6  # of a task are looked at, so that the time does not grow with the data set
T = TypeVar("T")
Images = Mapping[str, Sequence[StoredImage]]  # by class


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """What the settings of a run say."""

    config: Config

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the order of the sequence."""
        return tuple(step.task for step in self.config.sequence)

    @property
    def miniature(self) -> Miniature:
        """What of the run is the miniature benchmark."""
        return miniature_of(self.config)

    @property
    def methods(self) -> tuple[str, ...]:
        """The trained methods in the order of params.yaml; the zero-shot model is not among them."""
        return self.methods_where(lambda row: row.learns != "nothing")

    def methods_where(self, holds: Callable[[MethodConfig], bool]) -> tuple[str, ...]:
        """The methods of run.methods with such a row."""
        return tuple(name for name in self.config.run.methods if holds(self.config.methods[name]))

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The printed name of the zero-shot model and of each method of run.methods."""
        rows = self.config.methods
        methods = dict.fromkeys((ZERO_SHOT, *self.config.run.methods))
        return labels_of({method: rows[method].label if method in rows else None for method in methods})

    def label(self, method: str) -> str:
        """The printed name of a method; of one that did not run, that of its row."""
        return self.labels.get(method, method)

    @property
    def plain_methods(self) -> tuple[str, ...]:
        """Fine-tuning without protection against forgetting."""
        return self.methods_where(is_plain_finetuning)

    @property
    def references(self) -> tuple[str, ...]:
        """The methods that break the rules of the setting."""
        return self.methods_where(lambda row: row.is_reference)

    @property
    def separate_models(self) -> tuple[str, ...]:
        """The references that keep a separate model for each task."""
        return self.methods_where(lambda row: row.keeps_every_model)

    @property
    def replays_pairs(self) -> bool:
        """Whether a method replays synthetic pairs."""
        return bool(self.methods_where(lambda row: row.replay.reads == "synthetic"))

    @property
    def contenders(self) -> tuple[str, ...]:
        """The methods that keep the rules of the setting; only these can be the best."""
        return tuple(method for method in self.methods if method not in self.references)

    @property
    def continued(self) -> tuple[str, ...]:
        """The methods with a single model that is trained on task after task, so their accuracy is a curve."""
        return tuple(method for method in self.methods if method not in self.separate_models)


OWN_CODE = "code of your own"  # a part of an environment: files that params.yaml names, each with its hash


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord(Experiment, RunScores):
    """A finished run and its scores. What else a section shows, its module reads from the artifacts in `layout`.

    Attributes:
        infos: each task.json, in the order of the sequence.
        accuracy: all accuracy rows.
        metadata: of the accuracy files, by method and task.
    """

    layout: Layout
    infos: Mapping[str, TaskInfo]
    accuracy: pd.DataFrame
    metadata: Metadata

    @property
    def pair_tasks(self) -> tuple[str, ...]:
        """Those with captions instead of classes. Their accuracy is Recall@1, the mean of both directions."""
        return tuple(task for task, info in self.infos.items() if info.kind == PAIRS)

    @property
    def classes_seen(self) -> tuple[int, ...]:
        """The number of classes of all tasks up to and including each task."""
        return tuple(accumulate(len(info.class_names) for info in self.infos.values()))

    @cached_property
    def best_method(self) -> str:
        """The contender with the highest Last, or the best reference if there is no contender. The first wins a tie."""
        return max(self.contenders or self.methods, key=lambda method: self.scores[method]["last"] or 0.0)

    @cached_property
    def baseline_method(self) -> str | None:
        """The method that the best one is compared with: plain fine-tuning, else the contender with the lowest Last."""
        plain = [method for method in self.plain_methods if method != self.best_method]
        contenders = [method for method in self.contenders if method != self.best_method]
        return min(plain or contenders, key=lambda method: self.scores[method]["last"] or 0.0, default=None)

    @cached_property
    def styles(self) -> Mapping[str, str]:
        """The CSS class of each method: m0 to m5. With more methods, all but the best and its baseline are quiet."""
        if len(self.methods) <= COLORS:
            return {method: f"m{position}" for position, method in enumerate(self.methods)}
        main = {self.baseline_method: "m0", self.best_method: "m1"}
        return {method: main.get(method, QUIET) for method in self.methods}

    def reading_order(self, methods: Iterable[str]) -> list[str]:
        """Highlighted methods first."""
        return sorted(methods, key=lambda method: self.styles[method] == QUIET)

    @cached_property
    def test_images(self) -> Mapping[str, int]:
        """The number of tested images of each task; class-incremental: of all classes seen after its step."""
        counts = self.accuracy.groupby("eval_task")["n"].max()
        return {task: int(counts[task]) for task in self.tasks}

    @cached_property
    def probe_images(self) -> Mapping[str, int]:
        """The number of tested images of each probe, a task that no step learns; empty without any."""
        probes = self.accuracy[self.accuracy["phase"] == PROBE]
        return {str(name): int(count) for name, count in probes.groupby("eval_task", sort=False)["n"].max().items()}

    @property
    def existing_test_images(self) -> Mapping[str, int]:
        """What test_images is without evaluation.max_images."""
        counts = [info.counts["test"] for info in self.infos.values()]
        return dict(zip(self.tasks, counts if self.seen is None else accumulate(counts), strict=True))

    @cached_property
    def training_images(self) -> Mapping[str, Images]:
        """Training images of MAX_TASKS tasks, for the sections of pictures."""
        tasks = a_few(self.tasks, MAX_TASKS)
        return {task: images_by_class(self.layout.task(task), self.infos[task], "train") for task in tasks}

    @cached_property
    def probe_infos(self) -> Mapping[str, TaskInfo | None]:
        """task.json of each probe, None for one that is not on this machine: no number depends on it."""
        folders = {name: self.layout.task(name) for name in self.probe_images}
        return {name: read_task(path) if (path / "task.json").is_file() else None for name, path in folders.items()}

    @cached_property
    def published(self) -> PublishedResults | None:
        """None if the sequence is no published benchmark."""
        return published_results(self.config, self.infos, self.matrices)

    @cached_property
    def environments(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """{part: {value: results}} of the results that the report stands on, the most frequent value first.

        Such as {"torch": {"2.9.0": ["finetune@gift-birds"]}}. A result that computes nothing (no replay, nothing
        learned) has no environment, and one without a part does not count there: GPUs have no number of threads.
        """
        layout, results = self.layout, dict[str, Mapping[str, str | int] | None]()
        if self.replays_pairs:
            for task in self.tasks:
                results[f"synthesize@{task}"] = read_manifest(layout.shards(task)).environment
        for name, task in product(self.config.run.methods, self.tasks):
            row, result = self.config.methods[name], f"{name}-{task}"
            if row.replay.images != "none":
                results[f"teach@{result}"] = read_source(layout.teacher(name, task)).environment
            if row.learns != "nothing":
                provenance = read_provenance(layout.model(name, task))
                own = ", ".join(f"{file} {digest}" for file, digest in provenance.get("own_code", {}).items())
                of_own = {OWN_CODE: own} if own else {}
                results[f"finetune@{result}"] = {**(provenance.get("environment") or {}), **of_own}
            file = layout.accuracy(name, task)
            results[f"evaluate@{result}"] = environment_of(file, self.metadata[name][task])
        found: dict[str, dict[str, list[str]]] = {}
        for result, environment in results.items():
            for part, value in (environment or {}).items():
                found.setdefault(part, {}).setdefault(str(value), []).append(result)
        return {part: dict(sorted(of.items(), key=lambda item: (-len(item[1]), item[0]))) for part, of in found.items()}

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of metrics.json, in percent with four decimals."""
        return dict(rounded(self.unrounded_metrics))


@dataclass(frozen=True)
class Section:
    """A section of the page: its id, its title in the navigation, its template, and the names that it uses."""

    id: str
    title: str
    template: str
    shown: Mapping[str, Any]


Sections = Callable[[RunRecord], Iterator[Section]]


def images_by_class(folder: Path, info: TaskInfo, split: str) -> Images:
    """Returns the images in MAX_TARS tars of a task, by class in its order. {} if such a tar is not on this machine."""
    tars, classes = a_few(info.shards(split), MAX_TARS), defaultdict(list)
    if all((folder / name).is_file() for name in tars):
        for image in index_tars(folder, info, tars):
            classes[image.label].append(image)
    return {info.class_names[label]: classes[label] for label in sorted(classes) if label >= 0}


def a_few(items: Sequence[T], most: int) -> list[T]:
    """Returns at most `most` of the items, evenly spaced, among them the first and, unless `most` is 1, the last."""
    count = min(len(items), most)
    return [items[round(index * (len(items) - 1) / max(1, count - 1))] for index in range(count)]


def read_run(layout: Layout, config: Config) -> RunRecord:
    """The record of every method in run.methods over the whole sequence.

    ContractError if an artifact is missing, damaged, or does not belong to this run.
    """
    infos = {step.task: read_task(layout.task(step.task)) for step in config.sequence}
    accuracy, metadata = read_accuracies(layout, config, tuple(config.run.methods))
    scores = score_run(layout, config, accuracy, config.run.methods)
    return RunRecord(layout=layout, config=config, infos=infos, accuracy=accuracy, metadata=metadata, **vars(scores))


def is_plain_finetuning(method: MethodConfig) -> bool:
    """Whether the method fine-tunes on task after task without any protection against forgetting."""
    protected = method.losses or method.average or method.merge or method.trains or method.layer_decay
    continues = method.start == "previous" and method.learns == "task"
    return continues and method.replay.reads == "none" and method.consolidation.kind == "none" and not protected


def contender(config: Config, name: str | None) -> str:
    """Returns `name`, or the one method of run.methods that is more than a reference such as finetune or joint.

    Where there are references only, it is the one that learns. UserError for a name that run.methods lacks, and where
    several methods could be meant.
    """
    rows = {method: config.methods[method] for method in config.run.methods}
    if name is not None:
        lookup(rows, name, "--method: run.methods of params.yaml")
        return name
    learning = [method for method, row in rows.items() if row.learns != "nothing"]
    others = [method for method in learning if not (rows[method].is_reference or is_plain_finetuning(rows[method]))]
    candidates = others or learning
    if len(candidates) != 1:
        found = f"has {len(candidates)} methods that can be meant" if candidates else "has no method that learns"
        raise UserError(f"params.yaml: run.methods {found}. Name one with --method: {', '.join(candidates or rows)}.")
    return candidates[0]
