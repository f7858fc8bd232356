"""What ran: settings, methods, notes on the data, models by the hash of their weights, and the environments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gift_core.artifacts.accuracy import environment_of
from gift_core.artifacts.model_folder import WEIGHTS, read_provenance, read_shapes, require_model_folder
from gift_core.artifacts.shards import describe_shards
from gift_core.artifacts.task import CLASSES, TaskInfo
from gift_core.artifacts.teacher_source import read_source
from gift_core.config.experiment import Config
from gift_core.config.method_options import ConsolidationConfig, MethodConfig
from gift_core.config.replay_options import (
    ExemplarReplayConfig,
    FisherConfig,
    PairedReplay,
    RandomTextsConfig,
    ReferenceReplayConfig,
    ReplayConfig,
    TaskReplayConfig,
    TaughtReplay,
)
from gift_core.config.trains_options import TrainsOptions
from gift_core.layout import Layout
from gift_core.provenance import EDITED
from gift_core.quantities import first_names, plural
from gift_core.report.accuracies import Metadata
from gift_core.report.labels import count_test_images, label, task_list

Environments = Mapping[str, Mapping[str, str | int]]  # by result: "finetune@gift-birds"
MAX_RESULTS_NAMED = 6
PROTOCOLS = {
    "task_incremental": "task-incremental: an image is classified among the classes of its own task",
    "class_incremental": "class-incremental: an image is classified among the classes of all tasks so far",
    "cross_domain": "cross-domain (X-TAIL): an image is classified among the classes of all tasks, learned or not",
}
TEACHERS = {"previous": "the model before the task", "initial": "the pre-trained model"}
MAX_TASKS_IN_SEQUENCE = 15  # a longer sequence is abbreviated


@dataclass(frozen=True)
class Difference:
    """A part of the environment that is not the same for all results.

    `results`: the results by value, the most frequent value first.
    """

    name: str
    results: Mapping[str, Sequence[str]]

    @property
    def text(self) -> str:
        """The values in one line: the results of the most frequent one are counted, the others named."""
        (usual, most), *others = self.results.items()
        rest = [f"{value} ({first_names(results, MAX_RESULTS_NAMED)})" for value, results in others]
        return f"{usual} ({plural(len(most), 'result')}), {', '.join(rest)}"


def read_environments(
    layout: Layout,
    methods: Mapping[str, MethodConfig],
    tasks: Sequence[str],
    metadata: Metadata,
) -> Environments:
    """Returns the environment of each result that the report stands on. `metadata`: see read_accuracies.

    A result that computes nothing (no replay, nothing learned) has none.
    """
    found: dict[str, Mapping[str, str | int]] = {}
    if any(method.replay.images == "synthetic" for method in methods.values()):
        for task in tasks:
            folder = layout.shards(task)
            found[f"synthesize@{task}"] = describe_shards(folder).environment or {}
    for name, method in methods.items():
        for task in tasks:
            teacher, model, result = layout.teacher(name, task), layout.model(name, task), f"{name}-{task}"
            if method.replay.images != "none":
                found[f"teach@{result}"] = read_source(teacher).environment or {}
            if method.learns != "nothing":
                found[f"finetune@{result}"] = read_provenance(model).get("environment", {})
            found[f"evaluate@{result}"] = environment_of(layout.accuracy(name, task), metadata[name][task])
    return {result: environment for result, environment in found.items() if environment}


def differences(environments: Environments) -> tuple[Difference, ...]:
    """Returns what is not the same everywhere; empty if all results were computed in one environment."""
    values = _by_name(environments)
    return tuple(Difference(name, of) for name, of in values.items() if len(of) > 1 and name != EDITED)


def describe(environments: Environments) -> str:
    """Returns what all results have in common, in one line: "torch 2.13.0, ..., threads 1"."""
    values = _by_name(environments)
    return ", ".join(f"{name} {next(iter(of))}" for name, of in values.items() if len(of) == 1 and name != EDITED)


def _by_name(environments: Environments) -> dict[str, dict[str, list[str]]]:
    """{part: {value: results}}. A result without the part does not count: GPUs have no number of threads."""
    found: dict[str, dict[str, list[str]]] = {}
    for result, environment in environments.items():
        for name, value in environment.items():
            found.setdefault(name, {}).setdefault(str(value), []).append(result)
    return {name: dict(sorted(of.items(), key=lambda item: (-len(item[1]), item[0]))) for name, of in found.items()}


@dataclass(frozen=True)
class DataNote:
    """A limitation of the data of some tasks, such as few-shot training or missing images."""

    text: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One line of the table "Settings and versions"."""

    name: str
    value: str


def data_notes(config: Config, infos: Mapping[str, TaskInfo]) -> tuple[DataNote, ...]:
    """The notes in task order. A note that holds for several tasks appears once."""
    tasks_of: dict[str, list[str]] = {}
    for task, info in infos.items():
        for text in _notes_of_task(config, task, info):
            tasks_of.setdefault(text, []).append(task)
    return tuple(DataNote(text, tuple(tasks)) for text, tasks in tasks_of.items())


def run_facts(
    layout: Layout,
    config: Config,
    infos: Mapping[str, TaskInfo],
    notes: Sequence[DataNote],
    environments: Environments,
) -> tuple[Fact, ...]:
    """The settings a reader needs to judge the numbers, from params.yaml and the artifacts."""
    model, generator, prompts, training = config.model, config.generator, config.prompts, config.training
    return (
        Fact("Experiment", f"{config.experiment}, seed {config.seed}"),
        Fact("Sequence", _sequence(infos, config.evaluation.max_images)),
        *(Fact("Data", f"{note.text} ({task_list(note.tasks, len(infos))})") for note in notes),
        Fact("Evaluation", PROTOCOLS[config.evaluation.protocol]),
        Fact("Model", ", ".join(filter(None, (model.name, model.pretrained, _size(layout), model.precision)))),
        Fact(
            "Generator",
            f"{generator.pipeline}, {plural(generator.steps, 'step')}, guidance {generator.guidance:g}, "
            f"{generator.size} px, {generator.dtype}",
        ),
        Fact("Replay", f"{prompts.images_per_task:,} pairs per task, base vocabulary {prompts.base_vocabulary}"),
        Fact(
            "Training",
            f"{training.iterations:,} iterations per task, batches of {training.batch_size} images "
            f"and {training.replay_batch_size} pairs",
        ),
        *(Fact(label(name), summarize_method(config.methods[name])) for name in config.run.methods),
        *(Fact("Environment", text) for text in (describe(environments),) if text),
        *(Fact(f"Environment, {different.name}", different.text) for different in differences(environments)),
        *(
            Fact("Edited code", f"{files} ({first_names(results, MAX_RESULTS_NAMED)})")
            for files, results in _by_name(environments).get(EDITED, {}).items()
        ),
    )


def summarize_method(method: MethodConfig) -> str:
    """A row of `methods` in params.yaml as a phrase: one part for each slot that is not empty."""
    return ", ".join(_method_parts(method))


def model_hashes(metadata: Metadata, tasks: tuple[str, ...]) -> pd.DataFrame:
    """method, task, sha256 of every evaluated model, from the metadata of each method's last accuracy file."""
    rows = [
        (method, task, of_method[tasks[-1]][f"model:{task}"])
        for method, of_method in metadata.items()
        for task in ("pretrained", *tasks)
        if f"model:{task}" in of_method[tasks[-1]]
    ]
    models: pd.DataFrame = pd.DataFrame(rows, columns=["method", "task", "sha256"])
    return models


def _notes_of_task(config: Config, task: str, info: TaskInfo) -> Iterator[str]:
    shots = getattr(config.tasks[task], "shots", None)  # a miniature task has none
    if shots is not None:
        yield f"few-shot: {plural(shots, 'training image')} per class"
    yield from info.notes
    if info.skipped:
        yield f"{plural(len(info.skipped), 'unreadable image')} skipped"


def _sequence(infos: Mapping[str, TaskInfo], most: int | None) -> str:
    """Each task with its classes and test images. A long sequence: the first tasks, the last one, and the totals."""
    existing = {name: info.counts["test"] for name, info in infos.items()}
    tested = {name: min(count, most or count) for name, count in existing.items()}
    tasks = [
        f"{info.name} ({_classes(info)}, {count_test_images(tested[name], existing[name])})"
        for name, info in infos.items()
    ]
    if len(tasks) <= MAX_TASKS_IN_SEQUENCE:
        return ", ".join(tasks)
    classes = sum(len(info.class_names) for info in infos.values() if info.kind == CLASSES)
    images = count_test_images(sum(tested.values()), sum(existing.values()))
    total = f"in total {classes:,} classes and {images}"
    return f"{len(tasks)} tasks: {tasks[0]}, {tasks[1]} … {tasks[-1]}; {total}"


def _classes(info: TaskInfo) -> str:
    return f"{sum(info.captions.values()):,} captions" if info.captions else f"{len(info.class_names)} classes"


def _size(layout: Layout) -> str:
    """The number of parameters of the pre-trained model, from the header of its weights."""
    folder = layout.pretrained()
    require_model_folder(folder, "import_model")
    count = sum(map(math.prod, read_shapes(folder / WEIGHTS).values()))
    return f"{count / 1e6:.1f} million parameters"


def _method_parts(method: MethodConfig) -> Iterator[str]:
    if method.learning_rate is None:
        yield "the pre-trained model, never trained"
        return
    yield f"learning rate {method.learning_rate:g}"
    if method.trains is not None:
        yield _trained(method.trains)
    if method.layer_decay is not None:
        yield f"layer decay {method.layer_decay:g}"
    if method.start == "pretrained":
        yield "every step starts from the pre-trained model"
    if method.learns == "seen":
        yield "trained on all tasks seen so far"
    if isinstance(method.replay, TaughtReplay):
        yield f"replays {_replayed(method.replay)} (teacher: {_teacher(method.replay)})"
    if isinstance(method.replay, PairedReplay) and method.replay.fisher is not None:
        yield _fisher(method.replay.fisher)
    for name, loss in method.losses.items():
        yield f"{name} loss (weight {loss.weight:g})"
    if method.consolidation.kind != "none":
        yield _consolidation(method.consolidation)
    if method.average is not None:
        yield f"averages the weights every {method.average.every:,} iterations"
    if method.merge is not None:
        yield f"merges {method.merge.alpha:g} new + {1 - method.merge.alpha:g} old weights"
    if method.release is not None:
        yield f"released at {method.release.alpha:g} (+ {1 - method.release.alpha:g} pre-trained weights)"


def _trained(options: TrainsOptions) -> str:
    """Kind and options by their names in params.yaml."""
    values = options.model_dump(mode="json")
    kind = values.pop("kind")
    others = (f"{name}: {' and '.join(value) if isinstance(value, list) else value}" for name, value in values.items())
    return f"trains {kind}" + (f" ({', '.join(others)})" if values else "")


def _replayed(replay: ReplayConfig) -> str:
    if isinstance(replay, ReferenceReplayConfig):
        return f"pairs of {replay.folder}"
    if isinstance(replay, ExemplarReplayConfig):
        return f"{replay.memory:,} exemplars"
    if isinstance(replay, TaskReplayConfig):
        return f"the images of the task with {_texts(replay)}"
    earlier = getattr(replay, "keep_earlier", None)
    return "synthetic pairs" + (f" (keep_earlier: {earlier})" if earlier else "")


def _texts(replay: TaskReplayConfig) -> str:
    texts = replay.texts
    if isinstance(texts, RandomTextsConfig):
        return f"{texts.count:,} random texts of {texts.length} tokens"
    return "its class prompts"


def _teacher(replay: TaughtReplay) -> str:
    if replay.teacher == "mix":
        return f"a mix with {replay.teacher_alpha:g} of the model before the task"
    return TEACHERS[replay.teacher]


def _fisher(fisher: FisherConfig) -> str:
    estimated = "per sample" if fisher.estimator == "per_sample" else "per batch"
    return f"Fisher information {estimated}" + (", accumulated over the steps" if fisher.accumulate else "")


def _consolidation(options: ConsolidationConfig) -> str:
    """Kind, weight and the other options by their names in params.yaml."""
    values = options.model_dump(mode="json")
    kind, weight = values.pop("kind"), values.pop("weight")
    others = "".join(f", {name}: {str(value).lower()}" for name, value in values.items())
    return f"consolidation {kind} (weight {weight:g}{others})"
