"""Reads finished runs of one experiment with different seeds, and checks that they can be compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd

from gift_core.config.checks import require_task
from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.config.method_options import MethodConfig
from gift_core.errors import UserError, lookup, no_such_path
from gift_core.layout import Layout
from gift_core.mini.miniature import miniature_of
from gift_core.report.accuracies import RunScores, read_accuracies, score_run
from gift_core.report.comparison.seed_statistics import Runs
from gift_core.report.run_record import is_zero_shot

COMMAND = "gift compare"
PRETRAINED = "model:pretrained"
MAY_DIFFER = ("experiment", "seed", "run", "generator.seed")  # prefixes of keys in params.yaml


def read_runs(roots: Sequence[Path], *, methods: Sequence[str] | None = None, allow_missing: bool) -> Runs:
    """The scores of every run in seed order, of all methods or these. Each root holds params.yaml and data/6_accuracy.

    UserError if two runs have the same seed, differ in other settings than seeds and the list of methods, or start from
    different models; also if a method lacks a seed, unless `allow_missing`.
    """
    configs = {root: _config(root, methods) for root in roots}
    ordered = sorted(roots, key=lambda root: configs[root].seed)
    for one, other in pairwise(ordered):
        _require_one_experiment(one, configs[one], other, configs[other])
    rows = {name: configs[root].methods[name] for root in ordered for name in configs[root].run.methods}
    wanted = [name for name, row in rows.items() if not is_zero_shot(row)]
    scores, models, finished = dict[int, RunScores](), dict[str | None, Path](), dict[int, list[str]]()
    for root in ordered:
        config, layout = configs[root], Layout(root)
        tasks = tuple(step.task for step in config.sequence)
        names = [name for name in config.run.methods if all(layout.accuracy(name, task).is_file() for task in tasks)]
        if not names:
            folder, remedy = layout.accuracy("method", "task").parent.parent, f"Run `dvc repro` in {root} first."
            raise UserError(f"{COMMAND}: {folder} has no finished method of run.methods. {remedy}")
        accuracy, metadata = read_accuracies(layout, config, tuple(names))
        models.setdefault(metadata[names[0]][tasks[-1]].get(PRETRAINED), root)
        finished[config.seed] = [name for name in wanted if name in names]
        scores[config.seed] = score_run(layout, config, accuracy, finished[config.seed])
    missing = tuple((seed, name) for seed, names in finished.items() for name in wanted if name not in names)
    if missing and not allow_missing:
        named = ", ".join(f"{name} (seed {seed})" for seed, name in missing)
        remedy = "Finish them with `dvc repro`, or pass --allow-missing to compute their means over fewer seeds."
        raise UserError(f"{COMMAND}: not finished: {named}. {remedy}")
    if len(models) > 1:
        problem = f"{' and '.join(map(str, models.values()))} started from different pre-trained models"
        raise UserError(f"{COMMAND}: {problem}. Compare runs of one model.")
    found = {name: rows[name] for name in wanted if any(name in names for names in finished.values())}
    return _runs_of(configs[ordered[0]], found, scores, missing)


def _runs_of(
    config: Config,
    methods: Mapping[str, MethodConfig],
    scores: Mapping[int, RunScores],
    missing: tuple[tuple[int, str], ...],
) -> Runs:
    """The scores by seed as tables."""
    columns = next(iter(scores.values())).columns
    values = [
        {"seed": seed, "method": name, **{column: row[column] for column in columns}}
        for seed, of_seed in scores.items()
        for name, row in of_seed.scores.items()
    ]
    seen = [
        (seed, name, step, float(percent))
        for seed, of_seed in scores.items()
        if of_seed.seen is not None
        for name in of_seed.seen.columns
        for step, percent in enumerate(of_seed.seen[name])
    ]
    return Runs(
        experiment=config.experiment,
        protocol=config.evaluation.protocol,
        miniature=miniature_of(config),
        tasks=tuple(step.task for step in config.sequence),
        seeds=tuple(scores),
        methods=tuple(methods),
        references=tuple(name for name, row in methods.items() if row.is_reference),
        separate_models=tuple(name for name, row in methods.items() if row.keeps_every_model),
        missing=missing,
        columns=columns,
        values=pd.DataFrame(values).astype(dict.fromkeys(columns, float)),
        seen=pd.DataFrame(seen, columns=["seed", "method", "step", "percent"]) if seen else None,
    )


def _config(root: Path, methods: Sequence[str] | None) -> Config:
    """The settings of a run, with these methods alone."""
    if not root.is_dir():
        raise UserError(f"{COMMAND}: {no_such_path(root, 'folder')} Name the root folders of finished runs.")
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
        value, another = (each.get(key) for each in settings)
        if value != another:
            what = f"{key} is {value} in the first and {another} in the second"
            raise UserError(f"{both} are not one experiment: {what}. Only the seeds may differ.")


def _settings(config: Config, methods: Collection[str]) -> dict[str, object]:
    """{dotted key: value} of every setting that must be equal. A list is one value, except for `sequence`."""
    parameters = config.model_dump(mode="json")
    used = [*(step.task for step in config.sequence), *config.evaluation.probes]
    parameters["sequence"] = {str(index): row for index, row in enumerate(parameters["sequence"])}
    parameters["tasks"] = {task: parameters["tasks"][task] for task in used}
    parameters["methods"] = {name: row for name, row in parameters["methods"].items() if name in methods}
    (found,) = pd.json_normalize(parameters).to_dict("records")
    return {str(key): value for key, value in found.items() if not str(key).startswith(MAY_DIFFER)}
