"""The tests of models on tasks: the class of each test image, or retrieval. Each model is tested once on each task.

N images of a test set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from gift_core.artifacts.model_folder import noted_hash
from gift_core.artifacts.task import read_own_task
from gift_core.clip.device import resolve_device
from gift_core.clip.images import CACHE_BYTES, CacheBudget
from gift_core.clip.model import Clip, load_folder
from gift_core.clip.task_tests import TESTS, Test
from gift_core.clip.test_set import ImageLimit, TestSet
from gift_core.computation import Advance, Computation, Run, State

ModelAndTask = tuple[int, int]  # their numbers; -1 is the pre-trained model


@dataclass(frozen=True)
class EncodingSettings:
    """How models are loaded and images encoded, and how many of a task's test images."""

    device: torch.device
    precision: str
    batch_size: int
    limit: ImageLimit | None = None

    def load(self, folder: Path) -> Clip:
        """Returns the model in `folder`, whose weights have been hashed before (_hashes)."""
        return load_folder(folder, device=self.device, precision=self.precision, sha256=noted_hash(folder))

    def open(self, task: Path, cache_budget: CacheBudget) -> TestSet:
        """Returns the test images of the task in this folder."""
        return TestSet(task, batch_size=self.batch_size, cache_budget=cache_budget, limit=self.limit)


def classify_all(
    pairs: Sequence[ModelAndTask],
    *,
    models: Sequence[Path],
    tasks: Sequence[Path],
    settings: EncodingSettings,
    run: Run,
    name: str = "tests",
) -> Mapping[ModelAndTask, Test]:
    """Returns the test of each model on each task of `pairs`, among the classes of the task.

    `models` are the folders of the pre-trained model and of those after each task, `tasks` the folders of the tasks.
    `name` is that of the computation.
    """
    units, load = list(dict.fromkeys(pairs)), partial(_load, models, tasks, settings)
    compute = Classifier(models, tasks, settings)
    found = run(Computation(name, units, compute, load=load, rows=lambda pair: 1, noun="accuracies")).tensors
    infos = [read_own_task(folder) for folder in tasks]
    tests: dict[ModelAndTask, Test] = {}
    for m, t in units:
        own = {key.split()[0]: value for key, value in found.items() if key.endswith((f" {m} on {t}", f" of {t}"))}
        tests[m, t] = TESTS[infos[t].kind].test(classes=infos[t].class_names, **own)
    return tests


class Classifier:
    """Classifies test images.

    The model and the test set used last are kept. So the images of the last task, which every model classifies, are
    decoded once as far as CACHE_BYTES permit.
    """

    def __init__(self, models: Sequence[Path], tasks: Sequence[Path], settings: EncodingSettings) -> None:
        self._models, self._tasks, self._settings = models, tasks, settings
        self._clip: tuple[int, Clip] | None = None
        self._test_set: tuple[int, TestSet] | None = None

    def __call__(self, pairs: Iterable[ModelAndTask], advance: Advance) -> Iterator[State]:
        """Yields the tensors of the test of each model and task, int64."""
        for model, task in pairs:
            test_set = self._open(task)
            kind = TESTS[test_set.task.kind]
            tensors = {
                f"{name} {model} on {task}": value for name, value in kind.of_model(self._load(model), test_set).items()
            }
            advance(1)
            yield State(tensors | {f"{name} of {task}": value for name, value in kind.of_images(test_set).items()})

    def _load(self, model: int) -> Clip:
        if self._clip is None or self._clip[0] != model:
            self._clip = None  # two models at once would need twice the memory
            self._clip = model, self._settings.load(self._models[model + 1])
        return self._clip[1]

    def _open(self, task: int) -> TestSet:
        if self._test_set is None or self._test_set[0] != task:
            cache_budget = CacheBudget(CACHE_BYTES if task == len(self._tasks) - 1 else 0)
            self._test_set = task, self._settings.open(self._tasks[task], cache_budget)
        return self._test_set[1]


def _load(models: Sequence[Path], tasks: Sequence[Path], settings: EncodingSettings) -> Classifier:
    """In another process."""
    resolve_device(str(settings.device))
    return Classifier(models, tasks, settings)
