"""Reads a finished run's artifacts into a RunRecord; whatever is missing or does not fit is a ContractError."""

from __future__ import annotations

import pandas as pd

from gift_core.artifacts.losses import read_losses
from gift_core.artifacts.shards import first_pairs, read_manifest
from gift_core.config import Config
from gift_core.layout import Layout
from gift_core.report.accuracies import measure, read_accuracies
from gift_core.report.contact import thumbnail
from gift_core.report.fisher import read_profile
from gift_core.report.ran import facts_of, models_of, timings_of
from gift_core.report.record import FisherProfile, PairSheet, RunRecord
from gift_core.report.roles import is_plain, is_untouched

PAIRS_SHOWN = 24
NOT_TERMS = ("step", "learning_rate")
LOSS_COLUMNS = ["method", "position", "task", "step", "term", "value"]


def gather(layout: Layout, config: Config) -> RunRecord:
    """The record of every method in run.methods over the whole sequence; one that never learns is the zero-shot row."""
    tasks = tuple(step.task for step in config.sequence)
    rows = {name: config.methods[name] for name in config.run.methods}
    methods = tuple(name for name, row in rows.items() if not is_untouched(row))
    accuracy, hashes = read_accuracies(layout, tuple(rows), tasks)
    measured = measure(layout, accuracy, methods, tasks)
    replaying = any(row.replay.images == "synthetic" for row in rows.values())
    return RunRecord(
        experiment=config.experiment,
        tasks=tasks,
        methods=methods,
        plain_methods=tuple(name for name in methods if is_plain(rows[name])),
        references=tuple(name for name in methods if rows[name].is_reference),
        separate_models=tuple(name for name in methods if rows[name].keeps_every_model),
        accuracy=accuracy,
        matrices=measured.matrices,
        metrics=measured.metrics,
        losses=_read_losses(layout, methods, tasks),
        sheets=tuple(_read_sheet(layout, task) for task in tasks) if replaying else (),
        fisher={name: _read_profiles(layout, name, tasks) for name in methods if rows[name].anchor.needs_fisher},
        facts=facts_of(layout, config, accuracy),
        models=models_of(hashes, tasks),
        timings=timings_of(layout),
    )


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


def _read_sheet(layout: Layout, task: str) -> PairSheet:
    """The first pairs of the task's shards; prompts are drawn in random order, so the first are a fair sample."""
    folder = layout.shards(task)
    manifest = read_manifest(folder)
    pairs = first_pairs(folder, PAIRS_SHOWN)
    pictures = tuple(thumbnail(pair.prompt, pair.image) for pair in pairs)
    return PairSheet(task, manifest["images"], manifest["redrawn"], pictures)
