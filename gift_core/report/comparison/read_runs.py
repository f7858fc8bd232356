"""Reads finished runs of one experiment with different seeds, and checks that they can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from gift_core.config.checks import require_task
from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.errors import UserError, lookup, no_such_path
from gift_core.layout import Layout
from gift_core.mini.miniature import miniature_of
from gift_core.report.accuracies import RunScores, read_accuracies, score_run
from gift_core.report.comparison.seed_statistics import Runs
from gift_core.report.run_record import is_zero_shot

COMMAND = "gift compare"
PRETRAINED = "model:pretrained"
MAY_DIFFER = ("experiment", "seed", "run", "generator.seed")  # prefixes of keys in params.yaml


@dataclass(frozen=True)
class Run:
    """A root with its parameters and its finished methods."""

    root: Path
    config: Config
    finished: tuple[str, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the order of the sequence."""
        return tuple(step.task for step in self.config.sequence)


def read_runs(roots: Sequence[Path], *, methods: Sequence[str] | None = None, allow_missing: bool) -> Runs:
    """The scores of every run in seed order, of all methods or these. Each root holds params.yaml and data/6_accuracy.

    UserError if two runs have the same seed, differ in other settings than seeds and the list of methods, or start from
    different models; also if a method lacks a seed, unless `allow_missing`.
    """
    runs = sorted((_open(root, methods) for root in roots), key=lambda run: run.config.seed)
    for run in runs:
        require_task(run.config, str(run.root / "params.yaml"))
    for first, second in pairwise(runs):
        _require_comparable(first, second)
    rows = {name: run.config.methods[name] for run in runs for name in run.config.run.methods}
    wanted = tuple(name for name, row in rows.items() if not is_zero_shot(row))
    missing = tuple((run.config.seed, name) for run in runs for name in wanted if name not in run.finished)
    if missing and not allow_missing:
        raise UserError(_missing_message(runs, wanted))
    found = tuple(name for name in wanted if any(name in run.finished for run in runs))
    scores = _scores(runs)
    columns = next(iter(scores.values())).columns
    return Runs(
        experiment=runs[0].config.experiment,
        protocol=runs[0].config.evaluation.protocol,
        miniature=miniature_of(runs[0].config),
        tasks=runs[0].tasks,
        seeds=tuple(run.config.seed for run in runs),
        methods=found,
        references=tuple(name for name in found if rows[name].is_reference),
        separate_models=tuple(name for name in found if rows[name].keeps_every_model),
        missing=missing,
        columns=columns,
        values=_values(scores, columns),
        seen=_seen(scores),
    )


def _open(root: Path, methods: Sequence[str] | None) -> Run:
    if not root.is_dir():
        raise UserError(f"{COMMAND}: {no_such_path(root, 'folder')} Name the root folders of finished runs.")
    config = load_config(root / "params.yaml")
    if methods:
        names = tuple(lookup({name: name for name in config.run.methods}, name, "--methods") for name in methods)
        config = config.model_copy(update={"run": config.run.model_copy(update={"methods": names})})
    layout = Layout(root)
    files = {name: [layout.accuracy(name, step.task) for step in config.sequence] for name in config.run.methods}
    finished = tuple(name for name, paths in files.items() if all(path.is_file() for path in paths))
    if not finished:
        folder = layout.accuracy("method", "task").parent.parent
        raise UserError(f"{COMMAND}: {folder} has no finished method of run.methods. Run `dvc repro` in {root} first.")
    return Run(root, config, finished)


def _scores(runs: Sequence[Run]) -> dict[int, RunScores]:
    """The scores of every run by seed. UserError if the runs started from different models."""
    by_seed, models = {}, {}
    for run in runs:
        accuracy, metadata = read_accuracies(Layout(run.root), run.config, run.finished)
        models[run.root] = metadata[run.finished[0]][run.tasks[-1]].get(PRETRAINED)
        learning = tuple(name for name in run.finished if not is_zero_shot(run.config.methods[name]))
        by_seed[run.config.seed] = score_run(Layout(run.root), run.config, accuracy, learning)
    for (first, one), (second, other) in pairwise(models.items()):
        if one != other:
            problem = f"{first} and {second} started from different pre-trained models"
            raise UserError(f"{COMMAND}: {problem}. Compare runs of one model.")
    return by_seed


def _values(scores: Mapping[int, RunScores], columns: tuple[str, ...]) -> pd.DataFrame:
    rows = [
        {"seed": seed, "method": name, **{column: row[column] for column in columns}}
        for seed, of_seed in scores.items()
        for name, row in of_seed.scores.items()
    ]
    values: pd.DataFrame = pd.DataFrame(rows).astype(dict.fromkeys(columns, float))
    return values


def _seen(scores: Mapping[int, RunScores]) -> pd.DataFrame | None:
    rows = [
        (seed, name, step, float(percent))
        for seed, of_seed in scores.items()
        if of_seed.seen is not None
        for name in of_seed.seen.columns
        for step, percent in enumerate(of_seed.seen[name])
    ]
    return pd.DataFrame(rows, columns=["seed", "method", "step", "percent"]) if rows else None


def _require_comparable(first: Run, second: Run) -> None:
    both = f"{COMMAND}: {first.root} and {second.root}"
    if first.config.seed == second.config.seed:
        raise UserError(f"{both} have the same seed, {first.config.seed}. Leave out one of them.")
    one, other = dict(_settings(first.config)), dict(_settings(second.config))
    methods = first.config.methods.keys() & second.config.methods.keys()
    run = {*first.config.run.methods, *second.config.run.methods} & methods
    for key in dict.fromkeys((*one, *other)):
        section, _, rest = key.partition(".")
        if section == "methods" and rest.partition(".")[0] not in run:
            continue
        if one.get(key) != other.get(key):
            what = f"{key} is {one.get(key)} in the first and {other.get(key)} in the second"
            raise UserError(f"{both} are not one experiment: {what}. Only the seeds may differ.")


def _settings(config: Config) -> Iterator[tuple[str, object]]:
    """(dotted key, value) of every setting that must be equal. A list is one value, except for `sequence`."""
    parameters = config.model_dump(mode="json")
    used = [*(step.task for step in config.sequence), *config.evaluation.probes]
    parameters["sequence"] = {str(index): row for index, row in enumerate(parameters["sequence"])}
    parameters["tasks"] = {task: parameters["tasks"][task] for task in used}
    return (leaf for leaf in _leaves(parameters) if not leaf[0].startswith(MAY_DIFFER))


def _leaves(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _missing_message(runs: Sequence[Run], methods: Sequence[str]) -> str:
    lines = []
    for run in runs:
        names = [name for name in methods if name not in run.finished]
        if names:
            lines.append(f"{COMMAND}: {run.root} (seed {run.config.seed}) lacks {', '.join(names)}")
    remedy = "Finish them with `dvc repro`, or pass --allow-missing to compute their means over fewer seeds."
    return "\n".join([*lines, remedy])
