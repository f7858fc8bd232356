"""A finished run as one RunRecord: everything that the report shows, read and checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pandas as pd

from gift_core.artifacts.accuracy import PROBE
from gift_core.artifacts.model_folder import ENTROPY, LOSSES, LossRow, read_losses
from gift_core.artifacts.report_json import METRICS
from gift_core.artifacts.task import PAIRS, describe_task
from gift_core.config.experiment import Config
from gift_core.config.method_options import LossesConfig, MethodConfig
from gift_core.layout import Layout
from gift_core.metrics import probe_scores
from gift_core.mini.miniature import Miniature, miniature_of
from gift_core.report.accuracies import Scores, read_accuracies, score_run
from gift_core.report.facts import (
    DataNote,
    Difference,
    Fact,
    data_notes,
    differences,
    model_hashes,
    read_environments,
    run_facts,
)
from gift_core.report.fisher_heatmap import FisherProfile, read_profile
from gift_core.report.published_results import PublishedResults, published_results
from gift_core.report.thumbnails import ContactSheet, contact_sheets

# Other columns of losses.jsonl. The total contains the entropy of the teacher, which no training changes and which
# grows with the tasks: it would rise while every loss falls.
NOT_LOSSES = ("iteration", "learning_rate", "skipped", "total")
KL = " (KL)"  # ends the name of a cross-entropy to the teacher from which the teacher's entropy is subtracted
CONSOLIDATION = "consolidation"
LOSS_COLUMNS = ["method", "position", "task", "iteration", "loss", "value"]


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        protocol: evaluation.protocol.
        miniature: what of the run is the miniature benchmark.
        class_counts: number of classes of each task.
        pair_tasks: those with captions instead of classes. Their accuracy is Recall@1, the mean of both directions.
        test_counts: number of images in the test set of each task, tested or not (evaluation.max_images).
        methods: the trained methods in the order of params.yaml; the zero-shot model is not among them.
        plain_methods: fine-tuning without protection against forgetting.
        without_replay: methods that replay nothing.
        references: methods that break the rules of the setting.
        separate_models: references that keep a separate model for each task.
        restarted: methods that start every step from the pre-trained model, not from their model before the task.
        accuracy: all accuracy rows.
        columns: the columns of the result table.
        scores, matrices, seen, probes: see RunScores.
        published: None if the sequence is no published benchmark.
        losses: columns method, position, task, iteration, loss (its name), value. See loss_values.
        sheets: empty if no method replays synthetic pairs.
        fisher: a profile for each task, for methods whose consolidation needs Fisher information.
        models: columns method, task, sha256.
        differences: what is not the same in the environments of all results.
    """

    experiment: str
    protocol: str
    miniature: Miniature
    tasks: tuple[str, ...]
    class_counts: tuple[int, ...]
    pair_tasks: tuple[str, ...]
    test_counts: tuple[int, ...]
    methods: tuple[str, ...]
    plain_methods: tuple[str, ...]
    without_replay: tuple[str, ...]
    references: tuple[str, ...]
    separate_models: tuple[str, ...]
    restarted: tuple[str, ...]
    accuracy: pd.DataFrame
    columns: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float | None]]
    matrices: Mapping[str, pd.DataFrame]
    seen: pd.DataFrame | None
    probes: Mapping[str, pd.DataFrame]
    published: PublishedResults | None
    notes: tuple[DataNote, ...]
    losses: pd.DataFrame
    sheets: tuple[ContactSheet, ...]
    fisher: Mapping[str, tuple[FisherProfile, ...]]
    facts: tuple[Fact, ...]
    models: pd.DataFrame
    differences: tuple[Difference, ...]

    @property
    def contenders(self) -> tuple[str, ...]:
        """The methods that keep the rules of the setting; only these can be the best."""
        return tuple(method for method in self.methods if method not in self.references)

    @property
    def continued(self) -> tuple[str, ...]:
        """The methods with a single model that is trained on task after task, so their accuracy is a curve."""
        return tuple(method for method in self.methods if method not in self.separate_models)

    @property
    def classes_seen(self) -> tuple[int, ...]:
        """The number of classes of all tasks up to and including each task."""
        return tuple(accumulate(self.class_counts))

    @property
    def test_images(self) -> Mapping[str, int]:
        """The number of tested images of each task; class-incremental: of all classes seen after its step."""
        counts = self.accuracy.groupby("eval_task")["n"].max()
        return {task: int(counts[task]) for task in self.tasks}

    @property
    def probe_images(self) -> Mapping[str, int]:
        """The number of tested images of each probe, a task that no step learns; empty without any."""
        probes = self.accuracy[self.accuracy["phase"] == PROBE]
        return {str(name): int(count) for name, count in probes.groupby("eval_task", sort=False)["n"].max().items()}

    @property
    def existing_test_images(self) -> Mapping[str, int]:
        """What test_images is without evaluation.max_images."""
        counts = self.test_counts if self.seen is None else accumulate(self.test_counts)
        return dict(zip(self.tasks, counts, strict=True))

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of metrics.json, in percent."""
        return metrics_of(self.scores, self.probes)

    def percent(self, method: str) -> pd.DataFrame:
        """The accuracy matrix in percent: the row of the pre-trained model, then one after each task."""
        return self.matrices[method]


def read_run(layout: Layout, config: Config) -> RunRecord:
    """The record of every method in run.methods over the whole sequence.

    ContractError if an artifact is missing, damaged, or does not belong to this run.
    """
    tasks = tuple(step.task for step in config.sequence)
    rows = {name: config.methods[name] for name in config.run.methods}
    methods = tuple(name for name, row in rows.items() if not is_zero_shot(row))
    infos = {task: describe_task(layout.task(task)) for task in tasks}
    notes = data_notes(config, infos)
    accuracy, metadata = read_accuracies(layout, config, tuple(rows))
    environments = read_environments(layout, rows, tasks, metadata)
    run_scores = score_run(layout, config, accuracy, methods)
    replays_pairs = any(row.replay.images == "synthetic" for row in rows.values())
    return RunRecord(
        experiment=config.experiment,
        protocol=config.evaluation.protocol,
        miniature=miniature_of(config),
        tasks=tasks,
        class_counts=tuple(len(info.class_names) for info in infos.values()),
        pair_tasks=tuple(task for task, info in infos.items() if info.kind == PAIRS),
        test_counts=tuple(info.counts["test"] for info in infos.values()),
        methods=methods,
        plain_methods=tuple(name for name in methods if is_plain_finetuning(rows[name])),
        without_replay=tuple(name for name in methods if rows[name].replay.reads == "none"),
        references=tuple(name for name in methods if rows[name].is_reference),
        separate_models=tuple(name for name in methods if rows[name].keeps_every_model),
        restarted=tuple(name for name in methods if rows[name].start == "pretrained"),
        accuracy=accuracy,
        columns=run_scores.columns,
        scores=run_scores.scores,
        matrices=run_scores.matrices,
        seen=run_scores.seen,
        probes=run_scores.probes,
        published=published_results(config, infos, run_scores.matrices),
        notes=notes,
        losses=_read_losses(layout, {name: rows[name] for name in methods}, tasks),
        sheets=contact_sheets(layout, tasks) if replays_pairs else (),
        fisher={
            name: tuple(read_profile(layout.teacher(name, task) / "fisher.safetensors") for task in tasks)
            for name in methods
            if rows[name].consolidation.needs_fisher
        },
        facts=run_facts(layout, config, infos, notes, environments),
        models=model_hashes(metadata, tasks),
        differences=differences(environments),
    )


def metrics_of(scores: Scores, probes: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Returns the content of metrics.json in percent, unrounded, from RunScores."""
    found: dict[str, dict[str, Any]] = {m: {name: row[name] for name in METRICS} for m, row in scores.items()}
    for method, table in probes.items():
        found[method]["probes"] = probe_scores(table)
    return found


def is_zero_shot(method: MethodConfig) -> bool:
    """Whether the method is never trained. It is the pre-trained model, the zero-shot row of every report."""
    return method.learns == "nothing"


def is_plain_finetuning(method: MethodConfig) -> bool:
    """Whether the method fine-tunes on task after task without any protection against forgetting."""
    protected = method.losses or method.average or method.merge or method.trains or method.layer_decay
    continues = method.start == "previous" and method.learns == "task"
    return continues and method.replay.reads == "none" and method.consolidation.kind == "none" and not protected


def loss_values(rows: Sequence[LossRow], method: MethodConfig) -> pd.DataFrame:
    """The losses that the method has, a column for each, from the rows of losses.jsonl; the index is the iteration.

    A cross-entropy to the teacher becomes a KL divergence, named "distill (KL)": the teacher's entropy, which no
    training can change, is subtracted, so 0 means that the student equals the teacher. Rows without the entropy (of
    older models) keep the cross-entropy and its name. Zeros of a loss or consolidation that the method lacks are left
    out.
    """
    logged = pd.DataFrame(rows).set_index("iteration")
    entropies = {f"{name}{ENTROPY}": name for name in logged.columns if f"{name}{ENTROPY}" in logged.columns}
    absent = _absent(method)
    values: dict[str, pd.Series[float]] = {}
    for name in logged.columns:
        if name in NOT_LOSSES or name in entropies or name in absent:
            continue
        if name in entropies.values():
            values[f"{name}{KL}"] = logged[name] - logged[f"{name}{ENTROPY}"]
        else:
            values[name] = logged[name]
    table: pd.DataFrame = pd.DataFrame(values)
    return table


def _absent(method: MethodConfig) -> set[str]:
    """The losses and the consolidation that the method does not have."""
    consolidation = {CONSOLIDATION} if method.consolidation.kind == "none" else set()
    return set(LossesConfig.model_fields) - {name for name, _ in method.losses.items()} | consolidation


def _read_losses(layout: Layout, methods: Mapping[str, MethodConfig], tasks: tuple[str, ...]) -> pd.DataFrame:
    """LOSS_COLUMNS, one row per method, task, iteration and loss; losses in the order of their first appearance."""
    frames = [pd.DataFrame(columns=LOSS_COLUMNS)]
    for method, row in methods.items():
        for position, task in enumerate(tasks):
            wide = loss_values(read_losses(layout.model(method, task) / LOSSES), row)
            tidy = wide.reset_index().melt(id_vars="iteration", var_name="loss", value_name="value")
            frames.append(tidy.assign(method=method, position=position, task=task))
    losses: pd.DataFrame = pd.concat(frames[1:] or frames, ignore_index=True)[LOSS_COLUMNS]
    return losses
