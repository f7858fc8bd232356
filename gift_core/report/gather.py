"""Reads a finished run's artifacts into a RunRecord; whatever is missing or does not fit is a ContractError."""

from __future__ import annotations

import pandas as pd

from gift_core.artifacts.losses import read_losses
from gift_core.artifacts.shards import first_pairs, read_manifest
from gift_core.artifacts.task import TaskInfo, read_task
from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.metrics import ZERO_SHOT
from gift_core.report.accuracies import COLUMNS, Measured, measure, read_accuracies
from gift_core.report.beside_published import BesidePublished, beside_published
from gift_core.report.contact import thumbnail
from gift_core.report.fisher import read_profile
from gift_core.report.notes import notes_of
from gift_core.report.ran import facts_of, models_of, timings_of
from gift_core.report.record import FisherProfile, PairSheet, RunRecord
from gift_core.report.roles import is_plain, is_untouched

PAIRS_SHOWN = 24
SHEETS_SHOWN = 12
NOT_TERMS = ("step", "learning_rate", "skipped")
LOSS_COLUMNS = ["method", "position", "task", "step", "term", "value"]


def gather(layout: Layout, config: Config) -> RunRecord:
    """The record of every method in run.methods over the whole sequence; one that never learns is the zero-shot row."""
    tasks = tuple(step.task for step in config.sequence)
    rows = {name: config.methods[name] for name in config.run.methods}
    methods = tuple(name for name, row in rows.items() if not is_untouched(row))
    infos = {task: read_task(layout.task(task)) for task in tasks}
    notes = notes_of(config, infos)
    accuracy, hashes = read_accuracies(layout, tuple(rows), tasks)
    measured = measure(layout, config, accuracy, methods)
    replaying = any(row.replay.images == "synthetic" for row in rows.values())
    return RunRecord(
        experiment=config.experiment,
        tasks=tasks,
        class_counts=tuple(len(info.class_names) for info in infos.values()),
        methods=methods,
        plain_methods=tuple(name for name in methods if is_plain(rows[name])),
        references=tuple(name for name in methods if rows[name].is_reference),
        separate_models=tuple(name for name in methods if rows[name].keeps_every_model),
        accuracy=accuracy,
        columns=COLUMNS[config.evaluation.protocol],
        figures=measured.figures,
        matrices=measured.matrices,
        seen=measured.seen,
        published=_published(config, infos, measured),
        notes=notes,
        losses=_read_losses(layout, methods, tasks),
        sheets=_read_sheets(layout, tasks) if replaying else (),
        fisher={name: _read_profiles(layout, name, tasks) for name in methods if rows[name].consolidation.needs_fisher},
        facts=facts_of(layout, config, infos, notes),
        models=models_of(hashes, tasks),
        timings=timings_of(layout),
    )


def spread_over(count: int, shown: int) -> list[int]:
    """At most `shown` positions below `count`, the first and the last among them, evenly apart."""
    if count <= shown:
        return list(range(count))
    return [round(place * (count - 1) / (shown - 1)) for place in range(shown)]


def _published(config: Config, infos: dict[str, TaskInfo], measured: Measured) -> BesidePublished | None:
    untouched = measured.matrices[ZERO_SHOT].iloc[0] if measured.matrices else None
    return beside_published(config, infos, untouched)


def _read_losses(layout: Layout, methods: tuple[str, ...], tasks: tuple[str, ...]) -> pd.DataFrame:
    """Tidy: one row a method, task, step and term; the terms in the order of their first appearance."""
    frames = [pd.DataFrame(columns=LOSS_COLUMNS)]
    for method in methods:
        for position, task in enumerate(tasks):
            wide = pd.DataFrame(read_losses(layout.model(method, task) / "losses.jsonl"))
            terms = [name for name in wide.columns if name not in NOT_TERMS]
            tidy = wide.melt(id_vars="step", value_vars=terms, var_name="term", value_name="value")
            frames.append(tidy.assign(method=method, position=position, task=task))
    losses: pd.DataFrame = pd.concat(frames[1:] or frames, ignore_index=True)[LOSS_COLUMNS]
    return losses


def _read_profiles(layout: Layout, method: str, tasks: tuple[str, ...]) -> tuple[FisherProfile, ...]:
    return tuple(read_profile(layout.teacher(method, task) / "fisher.safetensors") for task in tasks)


def _read_sheets(layout: Layout, tasks: tuple[str, ...]) -> tuple[PairSheet, ...]:
    return tuple(_read_sheet(layout, tasks, position) for position in spread_over(len(tasks), SHEETS_SHOWN))


def _read_sheet(layout: Layout, tasks: tuple[str, ...], position: int) -> PairSheet:
    """The first pairs of the task's shards; prompts are drawn in random order, so the first are a fair sample."""
    folder = layout.shards(tasks[position])
    manifest = read_manifest(folder)
    return PairSheet(
        position=position + 1,
        task=tasks[position],
        total=manifest["images"],
        redrawn=manifest["redrawn"],
        rejected=manifest.get("rejected", {}),
        thumbnails=tuple(thumbnail(pair.prompt, pair.image) for pair in first_pairs(folder, PAIRS_SHOWN)),
    )
