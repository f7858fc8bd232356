"""Reads the finished runs of one experiment with several seeds; a UserError names whatever makes them incomparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.report.accuracies import COLUMNS, Measured, measure, read_accuracies
from gift_core.report.comparison.figures import Runs
from gift_core.report.roles import is_untouched

PLACE = "gift compare"
MODEL = "model:pretrained"
FREE = ("experiment", "seed", "run", "generator.seed")  # what may differ between the runs of a comparison


@dataclass(frozen=True)
class Run:
    """One root: its parameters and those of its methods that are finished."""

    root: Path
    config: Config
    finished: tuple[str, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the sequence's order."""
        return tuple(step.task for step in self.config.sequence)


def read_runs(roots: Sequence[Path], *, allow_missing: bool) -> Runs:
    """The figures of every run, in the order of the seeds.

    Each root holds params.yaml and data/6_accuracy. UserError where two have one seed, or other settings than the seeds
    and the list of methods, or start from different models; and, unless `allow_missing`, where a method lacks a seed.
    """
    runs = sorted((_open(root) for root in roots), key=lambda run: run.config.seed)
    for first, second in pairwise(runs):
        _require_comparable(first, second)
    rows = {name: run.config.methods[name] for run in runs for name in run.config.run.methods}
    wanted = tuple(name for name, row in rows.items() if not is_untouched(row))
    missing = tuple((run.config.seed, name) for run in runs for name in wanted if name not in run.finished)
    if missing and not allow_missing:
        raise UserError(_what_is_missing(runs, wanted))
    methods = tuple(name for name in wanted if any(name in run.finished for run in runs))
    measured = _measured(runs)
    columns = COLUMNS[runs[0].config.evaluation.protocol]
    return Runs(
        experiment=runs[0].config.experiment,
        tasks=runs[0].tasks,
        seeds=tuple(run.config.seed for run in runs),
        methods=methods,
        references=tuple(name for name in methods if rows[name].is_reference),
        separate_models=tuple(name for name in methods if rows[name].keeps_every_model),
        missing=missing,
        columns=columns,
        values=_values(measured, columns),
        seen=_seen(measured),
    )


def _open(root: Path) -> Run:
    config = load_config(root / "params.yaml")
    layout = Layout(root)
    files = {name: [layout.accuracy(name, step.task) for step in config.sequence] for name in config.run.methods}
    finished = tuple(name for name, paths in files.items() if all(path.is_file() for path in paths))
    if not finished:
        folder = layout.accuracy("method", "task").parent.parent
        raise UserError(f"{PLACE}: {folder} holds no finished method of run.methods. Run `dvc repro` in {root} first.")
    return Run(root, config, finished)


def _measured(runs: Sequence[Run]) -> dict[int, Measured]:
    """Every run, measured, by its seed; UserError where they started from different models."""
    by_seed, models = {}, {}
    for run in runs:
        accuracy, hashes = read_accuracies(Layout(run.root), run.finished, run.tasks)
        models[run.root] = hashes[run.finished[0]].get(MODEL)
        learning = tuple(name for name in run.finished if not is_untouched(run.config.methods[name]))
        by_seed[run.config.seed] = measure(Layout(run.root), run.config, accuracy, learning)
    for (first, one), (second, other) in pairwise(models.items()):
        if one != other:
            raise UserError(f"{PLACE}: {first} and {second} started from different pre-trained models.")
    return by_seed


def _values(measured: Mapping[int, Measured], columns: tuple[str, ...]) -> pd.DataFrame:
    rows = [
        {"seed": seed, "method": name, **{column: figures[column] for column in columns}}
        for seed, of_seed in measured.items()
        for name, figures in of_seed.figures.items()
    ]
    values: pd.DataFrame = pd.DataFrame(rows).astype(dict.fromkeys(columns, float))
    return values


def _seen(measured: Mapping[int, Measured]) -> pd.DataFrame | None:
    rows = [
        (seed, name, step, float(percent))
        for seed, of_seed in measured.items()
        if of_seed.seen is not None
        for name in of_seed.seen.columns
        for step, percent in enumerate(of_seed.seen[name])
    ]
    return pd.DataFrame(rows, columns=["seed", "method", "step", "percent"]) if rows else None


def _require_comparable(first: Run, second: Run) -> None:
    both = f"{PLACE}: {first.root} and {second.root}"
    if first.config.seed == second.config.seed:
        raise UserError(f"{both} have the same seed, {first.config.seed}. Leave one out.")
    one, other = dict(_settings(first.config)), dict(_settings(second.config))
    methods = first.config.methods.keys() & second.config.methods.keys()
    run = {*first.config.run.methods, *second.config.run.methods} & methods
    for place in dict.fromkeys((*one, *other)):
        section, _, rest = place.partition(".")
        if section == "methods" and rest.partition(".")[0] not in run:
            continue
        if one.get(place) != other.get(place):
            what = f"{place} is {one.get(place)} in the first and {other.get(place)} in the second"
            raise UserError(f"{both} are not one experiment: {what}. Compare runs that differ in their seeds alone.")


def _settings(config: Config) -> Iterator[tuple[str, object]]:
    """(dotted path, value) of all that must be the same; a list is one value but for the sequence's rows."""
    parameters = config.model_dump(mode="json")
    used = [step.task for step in config.sequence]
    parameters["sequence"] = {str(index): row for index, row in enumerate(parameters["sequence"])}
    parameters["tasks"] = {task: parameters["tasks"][task] for task in used}
    return (leaf for leaf in _leaves(parameters) if not leaf[0].startswith(tuple(FREE)))


def _leaves(section: dict[str, Any], place: str = "") -> Iterator[tuple[str, object]]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _what_is_missing(runs: Sequence[Run], methods: Sequence[str]) -> str:
    lines = []
    for run in runs:
        names = [name for name in methods if name not in run.finished]
        if names:
            lines.append(f"{PLACE}: {run.root} (seed {run.config.seed}) lacks {', '.join(names)}")
    remedy = "Finish them there with `dvc repro`, or pass --allow-missing: their means are then over fewer seeds."
    return "\n".join([*lines, remedy])
