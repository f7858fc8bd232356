"""Finished runs of one experiment with different seeds: read, checked to be comparable, and compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path

import pandas as pd

from gift_core.artifacts.task import read_task
from gift_core.config.checks import require_task
from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.errors import UserError, lookup
from gift_core.layout import Layout
from gift_core.method.metrics import ZERO_SHOT
from gift_core.report.accuracies import MEAN, SEPARATE_MODEL_COLUMNS, RunScores, read_accuracies, score_run, score_table
from gift_core.report.comparison.alpha_curves import AlphaCurve, curve_of_run, has_curve, mean_curve
from gift_core.report.published_results import PublishedResults, published_results
from gift_core.report.run_record import COLORS, Experiment
from gift_core.untrusted import leaves

COMMAND = "gift compare"
PRETRAINED = "model:pretrained"
MAY_DIFFER = ("experiment", "seed", "run", "generator.seed")  # prefixes of keys in params.yaml


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Experiment):
    """Finished runs of one experiment with different seeds, and the method `against`, with which others are compared.

    `config`: of the first seed, with the methods that are finished with any. `missing`: (seed, method). `runs`: the
    scores of each seed. `curves`: learned against kept over alpha, the mean over the seeds, of the methods that have it
    stored for all. `published`: of the first seed.
    """

    missing: tuple[tuple[int, str], ...]
    runs: Mapping[int, RunScores]
    curves: Mapping[str, AlphaCurve]
    published: PublishedResults | None = None
    against: str = ZERO_SHOT

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.runs)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The scores of all runs (score_table)."""
        return score_table(self.runs)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.table.columns[3:])

    @property
    def values(self) -> pd.DataFrame:
        """Columns seed, method and `columns` in percent, one row per finished method."""
        return self.table[self.table["task"] == MEAN].drop(columns="task")

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, pd.Series[float]]]:
        """The defined values of each method and column by seed, in seed order."""
        scores = {}
        for name in (ZERO_SHOT, *self.methods):
            rows = self.values[self.values["method"] == name].set_index("seed")
            columns = SEPARATE_MODEL_COLUMNS if name in self.separate_models else self.columns
            scores[name] = {column: rows[column].dropna() for column in columns}
        return scores

    @cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The methods that the tables show together, by their title.

        References, baselines, the method with the most variants (gift: gift_cd, gift_l2, ...), and these.
        """
        variants = {name: tuple(n for n in self.contenders if n.startswith(f"{name}_")) for name in self.contenders}
        family = max(variants, key=lambda name: len(variants[name]), default="")
        of_family = variants.get(family, ())
        outside = tuple(name for name in variants if not of_family or name not in (family, *of_family))
        groups = {
            "References": (ZERO_SHOT, *self.references),
            "Baselines" if of_family else "Methods": outside,
            self.label(family): (family,) if of_family else (),
            f"Variants of {self.label(family)}": of_family,
        }
        return {title: methods for title, methods in groups.items() if methods}

    @property
    def styles(self) -> dict[str, str]:
        """The CSS class of each method: a color of its own, m0 to m5, or with more methods that of its group."""
        if len(self.methods) <= COLORS:
            return {ZERO_SHOT: "g0", **{method: f"m{at}" for at, method in enumerate(self.methods)}}
        return {method: f"g{at}" for at, group in enumerate(self.groups.values()) for method in group}


def read_runs(
    roots: Sequence[Path],
    *,
    methods: Sequence[str] | None = None,
    against: str | None = None,
    allow_missing: bool = False,
) -> Comparison:
    """The comparison of the runs in seed order, of all methods or these. A root has params.yaml and data/6_accuracy.

    `against` defaults to the contender with the highest mean Last, or the zero-shot model.

    UserError if two runs have the same seed, differ in other settings than seeds and the list of methods, or start from
    different models; also if a method lacks a seed, unless `allow_missing`, and if `against` is no method of the runs.
    """
    configs = {root: _config(root, methods) for root in roots}
    ordered = sorted(roots, key=lambda root: configs[root].seed)
    for one, other in combinations(ordered, 2):
        _require_one_experiment(one, configs[one], other, configs[other])
    rows = {name: configs[root].methods[name] for root in ordered for name in configs[root].run.methods}
    wanted = [name for name, row in rows.items() if row.learns != "nothing"]
    models = dict[str | None, Path]()
    scores = {configs[root].seed: _scores(root, configs[root], models) for root in ordered}
    missing = tuple((seed, name) for seed, run in scores.items() for name in wanted if name not in run.scores)
    if missing and not allow_missing:
        named = ", ".join(f"{name} (seed {seed})" for seed, name in missing)
        remedy = "Finish them with `dvc repro`, or pass --allow-missing to compute their means over fewer seeds."
        raise UserError(f"{COMMAND}: not finished: {named}. {remedy}")
    if len(models) > 1:
        problem = f"{' and '.join(map(str, models.values()))} started from different pre-trained models"
        raise UserError(f"{COMMAND}: {problem}. Compare runs of one model.")
    finished = {name: rows[name] for name in wanted if any(name in run.scores for run in scores.values())}
    config = configs[ordered[0]]
    listed = config.run.model_copy(update={"methods": tuple(finished)})
    compared = Comparison(
        config=config.model_copy(update={"run": listed, "methods": finished}),
        missing=missing,
        runs=scores,
        curves=_curves({Layout(root): configs[root] for root in ordered}, scores),
        published=_published(Layout(ordered[0]), config, scores[config.seed]),
    )
    if against is None:
        last = {name: float(compared.scores[name]["last"].mean()) for name in compared.contenders}
        against = max(last, key=last.__getitem__, default=ZERO_SHOT)
    lookup(compared.scores, against, "--against")
    return replace(compared, against=against)


def _scores(root: Path, config: Config, models: dict[str | None, Path]) -> RunScores:
    """The scores of the finished methods of a run. Notes in `models` from which pre-trained model they started."""
    layout, tasks = Layout(root), tuple(step.task for step in config.sequence)
    names = [name for name in config.run.methods if all(layout.accuracy(name, task).is_file() for task in tasks)]
    if not names:
        folder = layout.accuracy("method", "task").parent.parent
        remedy = f"Run `dvc repro` in {root} first."
        raise UserError(f"{COMMAND}: {folder} has no finished method of run.methods. {remedy}")
    accuracy, metadata = read_accuracies(layout, config, tuple(names))
    models.setdefault(metadata[names[0]][tasks[-1]].get(PRETRAINED), root)
    return score_run(layout, config, accuracy, names)


def _curves(runs: Mapping[Layout, Config], scores: Mapping[int, RunScores]) -> dict[str, AlphaCurve]:
    """The mean curve over alpha of each method for which every seed that has finished it has stored one."""
    by_method: dict[str, list[AlphaCurve | None]] = defaultdict(list)
    for layout, config in runs.items():
        for name in config.run.methods:
            if name in scores[config.seed].scores and has_curve(config, name):
                by_method[name].append(curve_of_run(layout, config, name, scores[config.seed].scores))
    means = {name: mean_curve(curves) for name, curves in by_method.items()}
    return {name: curve for name, curve in means.items() if curve is not None}


def _published(layout: Layout, config: Config, run: RunScores) -> PublishedResults | None:
    """Published results beside those of a run. Without the task.json of a task they are withheld."""
    folders = {step.task: layout.task(step.task) for step in config.sequence}
    infos = {task: read_task(folder) for task, folder in folders.items() if (folder / "task.json").is_file()}
    return published_results(config, infos, run.matrices)


def _config(root: Path, methods: Sequence[str] | None) -> Config:
    """The settings of a run, with these methods alone."""
    config = load_config(root / "params.yaml")
    require_task(config, str(root / "params.yaml"))
    for name in methods or ():
        lookup(dict.fromkeys(config.run.methods), name, "--methods")
    run = config.run.model_copy(update={"methods": tuple(methods)}) if methods else config.run
    return config.model_copy(update={"run": run})


def _require_one_experiment(first: Path, one: Config, second: Path, other: Config) -> None:
    both = f"{COMMAND}: {first} and {second}"
    if one.seed == other.seed:
        raise UserError(f"{both} have the same seed, {one.seed}. Leave out one of them.")
    common = {*one.run.methods, *other.run.methods} & one.methods.keys() & other.methods.keys()
    settings = _settings(one, common), _settings(other, common)
    for key in dict.fromkeys((*settings[0], *settings[1])):
        first_value, second_value = settings[0].get(key), settings[1].get(key)
        if first_value != second_value:
            difference = f"{key} is {first_value} in the first and {second_value} in the second"
            raise UserError(f"{both} are not one experiment: {difference}. Only the seeds may differ.")


def _settings(config: Config, methods: Collection[str]) -> dict[str, object]:
    """{dotted key: value} of every setting that must be equal. A list is one value, except for `sequence`."""
    parameters = config.model_dump(mode="json")
    used = [*(step.task for step in config.sequence), *config.evaluation.probes]
    parameters["sequence"] = {str(index): row for index, row in enumerate(parameters["sequence"])}
    parameters["tasks"] = {task: parameters["tasks"][task] for task in used}
    rows = parameters["methods"].items()
    parameters["methods"] = {name: {**row, "label": None} for name, row in rows if name in methods}
    return {key: value for key, value in leaves(parameters) if not key.startswith(MAY_DIFFER)}
