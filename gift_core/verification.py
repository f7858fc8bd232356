"""Checks every artifact of the active experiment: against its own hashes, and against what it was made from.

A stage checks what it reads, and nothing of it against dvc.lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.artifacts.contract import broken, sha256_of
from gift_core.artifacts.model_folder import PROVENANCE, model_hash, noted_hash, read_provenance, require_model_folder
from gift_core.artifacts.predictions import read_predictions, require_agreement
from gift_core.artifacts.prompt_files import read_prompts, read_vocabulary
from gift_core.artifacts.report_json import metrics_content, read_metrics
from gift_core.artifacts.shards import iterate_pairs
from gift_core.artifacts.task import SPLITS, index_task, read_own_task
from gift_core.artifacts.teacher_source import require_source
from gift_core.config.experiment import Config, StepConfig
from gift_core.config.method_options import MethodConfig
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.replay.source import StepReplay
from gift_core.replay.teach import require_taught
from gift_core.report.accuracies import read_accuracies, score_run
from gift_core.report.run_record import is_zero_shot, metrics_of

ReplayOf = Callable[[str, str], StepReplay[Any]]  # of a method and a task


@dataclass(frozen=True)
class Artifact:
    """An artifact, what it is compared with, and the check, which raises ContractError where it is broken."""

    path: Path
    check: Callable[[], object]
    needs: tuple[Path, ...] = ()

    @property
    def missing(self) -> Path | None:
        """The first path that does not exist, so that the artifact cannot be checked."""
        return next((path for path in (self.path, *self.needs) if not path.exists()), None)


def artifacts_of(layout: Layout, config: Config, replay_of: ReplayOf) -> Iterator[Artifact]:
    """Yields the artifacts of the experiment, in the order of the stages."""
    pretrained = layout.pretrained()
    yield Artifact(pretrained, lambda: _check_weights(pretrained, "import_model"))
    yield Artifact(layout.pretrained_accuracy(), lambda: _check_accuracy(layout, "", []), (pretrained,))
    yield from (_of_task(layout.task(name)) for name in config.tasks)
    yield Artifact(layout.base_vocabulary(), lambda: read_vocabulary(layout.base_vocabulary()))
    for step in config.sequence:
        yield from _of_step(layout, step)
    for method in config.run.methods:
        for step in config.sequence:
            yield from _of_method(layout, config, method, step, replay_of)
    accuracies = [layout.accuracy(method, step.task) for method in config.run.methods for step in config.sequence]
    if accuracies:
        yield Artifact(layout.reports() / "metrics.json", lambda: _check_metrics(layout, config), tuple(accuracies))


def _of_task(folder: Path) -> Artifact:
    return Artifact(folder, lambda: _check_task(folder))


def _of_step(layout: Layout, step: StepConfig) -> Iterator[Artifact]:
    prompts, vocabulary, shards = layout.prompts(step.task), layout.vocabulary(step.task), layout.shards(step.task)
    yield Artifact(prompts, lambda: read_prompts(prompts))
    yield Artifact(vocabulary, lambda: read_vocabulary(vocabulary))
    yield Artifact(shards, lambda: _check_shards(shards, prompts), (prompts,))


def _of_method(
    layout: Layout, config: Config, method: str, step: StepConfig, replay_of: ReplayOf
) -> Iterator[Artifact]:
    row, task = config.methods[method], step.task
    start = layout.model(method, step.after) if row.start == "previous" else layout.pretrained()
    teacher, model = layout.teacher(method, task), layout.model(method, task)

    def check_teacher() -> None:
        if row.replay.images == "none":
            require_source(teacher, replay="none", read={}, model="")
        else:
            require_taught(replay_of(method, task))

    names = [each.task for each in config.sequence]
    so_far = names[: names.index(task) + 1]
    shards = [layout.shards(name) for name in reversed(so_far)][: 1 + getattr(row.replay, "keep_earlier", 0)]
    replayed = (*shards, layout.vocabulary(step.after)) if row.replay.images == "synthetic" else ()
    models = tuple(layout.released(method, name) for name in so_far)
    yield Artifact(teacher, check_teacher, (start, layout.pretrained(), layout.task(task), *replayed))
    yield Artifact(model, lambda: _check_model(model, start, layout.task(task)), (start, layout.task(task)))
    released = layout.released(method, task)
    yield Artifact(released, lambda: _check_released(released, model, row), (model,))
    accuracy = layout.accuracy(method, task)
    yield Artifact(
        accuracy, lambda: _check_accuracy(layout, method, so_far), (*models, *(layout.task(name) for name in so_far))
    )
    predictions = layout.predictions(method, task)
    yield Artifact(predictions, lambda: _check_predictions(predictions, accuracy), (accuracy,))


def _check_weights(folder: Path, stage: str) -> None:
    require_model_folder(folder, stage)
    model_hash(folder)


def _check_model(folder: Path, start: Path, task: Path) -> None:
    _check_weights(folder, "finetune")
    record = read_provenance(folder)
    expected = {"start_model": noted_hash(start), "task_json": sha256_of(task / "task.json")}
    for key, digest in expected.items():
        if record.get(key) != digest:
            source = {"start_model": start, "task_json": task}[key]
            what = f"it should be trained from {source} ({digest[:12]}...), {key} is {str(record.get(key))[:12]}..."
            raise broken(folder / PROVENANCE, what, "finetune")


def _check_released(folder: Path, model: Path, row: MethodConfig) -> None:
    _check_weights(folder, "evaluate")
    record, trained = read_provenance(folder), noted_hash(model)
    made = record.get("trained_model", record.get("weights_sha256"))
    if made != trained:
        what = f"it should be a release of {model} ({trained[:12]}...), it is of {str(made)[:12]}..."
        raise broken(folder / PROVENANCE, what, "evaluate")
    release = None if row.release is None else row.release.model_dump(mode="json")
    if record.get("release") != release:
        what = f"it should be released with {release}, it is released with {record.get('release')}"
        raise broken(folder / PROVENANCE, what, "evaluate")


def _check_task(folder: Path) -> None:
    read_own_task(folder)
    for split in SPLITS:
        index_task(folder, split)


def _check_shards(folder: Path, prompts: Path) -> None:
    for _ in iterate_pairs(folder, prompts):
        pass


def _check_accuracy(layout: Layout, method: str, tasks: list[str]) -> None:
    """Compares the hashes in the metadata with the models and tasks that are there."""
    path = layout.accuracy(method, tasks[-1]) if tasks else layout.pretrained_accuracy()
    _, metadata = read_accuracy(path)
    expected = {"model:pretrained": noted_hash(layout.pretrained())}
    for name in tasks:
        expected[f"model:{name}"] = noted_hash(layout.released(method, name))
        expected[f"task:{name}"] = sha256_of(layout.task(name) / "task.json")
    for name, digest in expected.items():
        if metadata.get(name) != digest:
            found = str(metadata.get(name))[:12]
            raise broken(path, f"it should be of {name} with sha256 {digest[:12]}..., it is of {found}...", "evaluate")


def _check_predictions(predictions: Path, accuracy: Path) -> None:
    """The predictions give the accuracies, whose hashes are compared with the models and tasks."""
    require_agreement(predictions, read_predictions(predictions), read_accuracy(accuracy))


def _check_metrics(layout: Layout, config: Config) -> None:
    """Computes the metrics again from the accuracies."""
    path, methods = layout.reports() / "metrics.json", tuple(config.run.methods)
    rows, _ = read_accuracies(layout, config, methods)
    trained = [name for name in methods if not is_zero_shot(config.methods[name])]
    scored = score_run(layout, config, rows, trained)
    expected = metrics_content(metrics_of(scored.scores, scored.probes))
    found = read_metrics(path)
    if found != expected:
        differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise broken(path, f"the accuracies give other numbers for {', '.join(differing)}", "report")


def problem_of(artifact: Artifact) -> str:
    """Returns the error of the check, empty if the artifact is whole."""
    try:
        artifact.check()
    except (ContractError, OSError) as error:
        return str(error)
    return ""
