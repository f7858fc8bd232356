"""Reads a finished run's artifacts into a RunRecord; whatever is missing or does not fit is a ContractError."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from gift_core.artifacts.accuracy import read_accuracy
from gift_core.artifacts.losses import read_losses
from gift_core.artifacts.shards import first_pairs, read_manifest
from gift_core.config import Config, MethodConfig
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.metrics import ZERO_SHOT, accuracy_matrix, metrics_by_method, with_zero_shot
from gift_core.report.contact import thumbnail
from gift_core.report.ran import facts_of, models_of, timings_of
from gift_core.report.record import PairSheet, RunRecord

PAIRS_SHOWN = 24
NOT_TERMS = ("step", "learning_rate")
LOSS_COLUMNS = ("method", "position", "task", "step", "term", "value")


def gather(layout: Layout, config: Config) -> RunRecord:
    """The record of every method in run.methods over the whole sequence."""
    tasks = tuple(step.task for step in config.sequence)
    methods = tuple(config.run.methods)
    accuracy, hashes = _read_accuracies(layout, methods, tasks)
    matrices, metrics = _measure(layout, accuracy, methods, tasks)
    replaying = any(config.methods[method].replay.images == "synthetic" for method in methods)
    return RunRecord(
        experiment=config.experiment,
        tasks=tasks,
        methods=methods,
        plain_methods=tuple(method for method in methods if is_plain(config.methods[method])),
        accuracy=accuracy,
        matrices=matrices,
        metrics=metrics,
        losses=_read_losses(layout, methods, tasks),
        sheets=tuple(_read_sheet(layout, task) for task in tasks) if replaying else (),
        facts=facts_of(layout, config, accuracy),
        models=models_of(hashes, tasks),
        timings=timings_of(layout),
    )


def is_plain(method: MethodConfig) -> bool:
    """Whether the method is fine-tuning with nothing that protects the past."""
    return method.replay.images == "none" and method.anchor.kind == "none" and not method.terms


def _read_accuracies(
    layout: Layout, methods: tuple[str, ...], tasks: tuple[str, ...]
) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """All rows, and for each method the metadata of its last file, which vouch for the whole chain."""
    rows, hashes = [], {}
    for method in methods:
        for task in tasks:
            of_task, hashes[method] = read_accuracy(layout.accuracy(method, task))
            rows.append(of_task)
    _require_comparable(layout, hashes)
    return pd.concat(rows, ignore_index=True), hashes


def _require_comparable(layout: Layout, hashes: Mapping[str, Mapping[str, str]]) -> None:
    """Raise ContractError where two methods started from different models or were tested on different images."""
    seen: dict[str, tuple[str, str]] = {}
    for method, notes in hashes.items():
        for name, digest in notes.items():
            if name.startswith("task:") or name == "model:pretrained":
                first, expected = seen.setdefault(name, (method, digest))
                if digest != expected:
                    raise _broken(layout, f"{first} and {method} were measured with different versions of {name}.")


def _measure(
    layout: Layout, accuracy: pd.DataFrame, methods: tuple[str, ...], tasks: tuple[str, ...]
) -> tuple[dict[str, pd.DataFrame], Mapping[str, Mapping[str, float | None]]]:
    """Matrices in percent with the pre-trained model's row on top, and the four metrics."""
    try:
        complete = with_zero_shot(accuracy)
        by_name = {method: accuracy_matrix(complete, method) * 100.0 for method in (ZERO_SHOT, *methods)}
        metrics = metrics_by_method(accuracy)
    except UserError as error:
        raise _broken(layout, str(error)) from error
    for method, matrix in by_name.items():
        if tuple(matrix.columns) != tasks:
            raise _broken(
                layout, f"{method} was trained on {', '.join(matrix.columns)}, the sequence is {', '.join(tasks)}."
            )
    zero_shot = by_name[ZERO_SHOT].iloc[:1]
    matrices = {method: pd.concat([zero_shot, by_name[method]]) for method in methods}
    return matrices, {name: metrics[name] for name in (ZERO_SHOT, *methods)}


def _broken(layout: Layout, problem: str) -> ContractError:
    folder = layout.accuracy("method", "task").parent.parent
    return ContractError(f"{folder}: {problem} Re-make it with: dvc repro evaluate")


def _read_losses(layout: Layout, methods: tuple[str, ...], tasks: tuple[str, ...]) -> pd.DataFrame:
    """Tidy: one row a method, task, step and term; the terms in the order of their first appearance."""
    frames = []
    for method in methods:
        for position, task in enumerate(tasks):
            wide = pd.DataFrame(read_losses(layout.model(method, task) / "losses.jsonl"))
            terms = [name for name in wide.columns if name not in NOT_TERMS]
            tidy = wide.melt(id_vars="step", value_vars=terms, var_name="term", value_name="value")
            frames.append(tidy.assign(method=method, position=position, task=task))
    losses: pd.DataFrame = pd.concat(frames, ignore_index=True)[list(LOSS_COLUMNS)]
    return losses


def _read_sheet(layout: Layout, task: str) -> PairSheet:
    """The first pairs of the task's shards; prompts are drawn in random order, so the first are a fair sample."""
    folder = layout.shards(task)
    manifest = read_manifest(folder)
    pairs = first_pairs(folder, PAIRS_SHOWN)
    pictures = tuple(thumbnail(pair.prompt, pair.image) for pair in pairs)
    return PairSheet(task, manifest["images"], manifest["redrawn"], pictures)
