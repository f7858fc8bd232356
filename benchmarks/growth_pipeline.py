"""What grows with the number of tasks and of stages: parts of benchmarks/growth.py."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch

from benchmarks.engine import project
from benchmarks.experiment import read_experiment
from benchmarks.growth_parts import ROOT, TEST_IMAGES, Row, in_turns, medians
from gift_core import evaluation
from gift_core.artifacts.accuracy import PRETRAINED
from gift_core.classifier import EncodingSettings
from gift_core.clip.task_tests import Classification
from gift_core.metrics import matrix_scores
from gift_core.stage_graph import list_stages
from stages.dvc_pipeline import open_pipeline

CHAINS = 25  # of the project with many stages, as many methods learn one task after another
UP_TO_DATE = {
    "repro": (["dvc", "repro"], "Data and pipelines are up to date."),
    "dry": ([sys.executable, "-m", "stages", "run", "--dry"], "Nothing is new or changed"),
}
Cells = frozenset[tuple[int, int]]  # (step, task) of an accuracy matrix


def of_tasks(sizes: Sequence[int], rounds: int) -> list[Row]:
    """Returns the counts of `counts_of`, and the minutes of all tests: the measured time of one, times their number."""
    (one,) = in_turns("evaluation", [TEST_IMAGES], rounds)
    rows = [counts_of(tasks) for tasks in sizes]
    return [row | {"minutes": row["tests"] * one["evaluation"] / 60, "spread": one["spread"]} for row in rows]


def counts_of(tasks: int) -> Row:
    """Returns the number of stages of one method, and of tests of a model on a test set, as the pipeline has them."""
    names = [f"task{number}" for number in range(tasks)]
    tests = [len(evaluated_in_step(names[: step + 1])) for step in range(tasks)]
    experiment = read_experiment(ROOT / "params.yaml")
    experiment["run"] |= {"methods": ["gift"]}
    experiment["tasks"] = dict.fromkeys(names)
    experiment["sequence"] = [{"task": name} for name in names]
    return {
        "tasks": tasks,
        "stages": len(list_stages(ROOT, experiment)),
        "tests": sum(tests),
        "last_step": tests[-1],
        "all_again": sum(accumulate(tests)),
        "own_and_last": len(own_and_last(tasks)),
    }


def evaluated_in_step(tasks: Sequence[str]) -> list[tuple[int, int]]:
    """Returns the (model, task) that the stage evaluate tests in the step of the last of these tasks."""
    asked: list[tuple[int, int]] = []
    zero_N = torch.zeros(1, dtype=torch.long)
    answer = Classification(zero_N, zero_N, zero_N, ["a thing"])

    def classify_all(pairs: Sequence[tuple[int, int]], **options: object) -> dict[tuple[int, int], Classification]:
        asked.extend(pairs)
        return dict.fromkeys(pairs, answer)

    inputs = evaluation.EvaluationInputs(
        method="gift",
        models={PRETRAINED: Path(), **dict.fromkeys(tasks, Path())},
        tasks=dict.fromkeys(tasks, Path()),
        model_for=evaluation.newest_model,
        settings=EncodingSettings(torch.device("cpu"), "fp32", 1),
        previous={},
    )
    with (
        mock.patch.object(evaluation, "classify_all", classify_all),
        mock.patch.object(evaluation, "input_hashes", lambda models, tasks: {}),
    ):
        evaluation.evaluate_task_incremental(inputs)
    return asked


def own_and_last(tasks: int) -> Cells:
    """Returns each step on its own task, and the last step on all tasks."""
    return frozenset({(step, step) for step in range(tasks)} | {(tasks - 1, task) for task in range(tasks)})


def metrics_from(cells: Cells, tasks: int) -> list[str]:
    """Returns the metrics that no other cell of the accuracy matrix changes."""
    random = np.random.default_rng(0)
    measured = random.random((tasks, tasks))
    other = random.random((tasks, tasks))
    for step, task in cells:
        other[step, task] = measured[step, task]
    one, two = matrix_scores(pd.DataFrame(measured)), matrix_scores(pd.DataFrame(other))
    return [name for name in one if one[name] == two[name]]


def of_stages(sizes: Sequence[int], rounds: int) -> list[Row]:
    """Returns the seconds of `dvc repro` and of `gift run --dry` for pipelines in which everything is up to date."""
    with ExitStack() as stack:
        folders = [stack.enter_context(up_to_date(size)) for size in sizes]
        measured = [
            [{"stages": size, **_unchanged(folder)} for size, folder in zip(sizes, folders, strict=True)]
            for _ in range(rounds)
        ]
    return medians(measured)


@contextmanager
def up_to_date(stages: int) -> Iterator[Path]:
    """Yields a project with so many stages, each recorded in dvc.lock and in the cache as if it had run."""
    graph = {f"s{number}": [f"s{number - CHAINS}"] if number >= CHAINS else [] for number in range(stages)}
    with project(graph, dict.fromkeys(graph, "true")) as folder:
        for name in graph:
            (folder / "out" / name).write_text(f"{name}\n", encoding="utf-8")
        with open_pipeline(Path(), []) as pipeline:
            for name in pipeline.upstream:
                pipeline.record(name)
            pipeline.write_lock(now=True)
        yield folder


def _unchanged(folder: Path) -> Row:
    """The processor time of each command, which has to say that nothing is to be done."""
    found = {}
    for name, (command, said) in UP_TO_DATE.items():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0 and said in done.stdout, f"{command}: {done.stdout[-500:]}{done.stderr[-500:]}"
        found[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found
