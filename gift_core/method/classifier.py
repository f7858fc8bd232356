"""The tests of models on tasks: the class of each test image, or retrieval. Each model is tested once on each task.

Images are classified among the classes of their own task, or of all tasks.

N images of a test set, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import torch

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import noted_hash
from gift_core.artifacts.task import TaskInfo, read_task
from gift_core.clip.encoding import predict
from gift_core.clip.images import CACHE_BYTES, CacheBudget
from gift_core.clip.model import Clip, load_folder
from gift_core.clip.task_tests import TESTERS, Classification, TestOutcome, outcome_of
from gift_core.clip.test_sets import ImageLimit, TestSet, encode_test_set
from gift_core.computation import Advance, Computation, State, UnitRunner
from gift_core.datasets.spelling import comparison_key
from gift_core.torch_devices import set_up_device

ModelAndTask = tuple[int, int]  # their numbers; -1 is the pre-trained model
Models = Mapping[int, Path]  # folders by these numbers


@dataclass(frozen=True)
class EncodingSettings:
    """How models are loaded and images encoded, and how many of a task's test images."""

    device: torch.device
    precision: str
    batch_size: int
    limit: ImageLimit | None = None

    def load(self, folder: Path) -> Clip:
        """Returns the model in `folder`, whose weights the caller has hashed already (artifacts.accuracy)."""
        device = set_up_device(str(self.device))  # also sets up another process
        return load_folder(folder, device=device, precision=self.precision, is_hashed=True)

    def open(self, task: Path, cache_budget: CacheBudget) -> TestSet:
        """Returns the test images of the task in this folder."""
        return TestSet(task, batch_size=self.batch_size, cache_budget=cache_budget, limit=self.limit)


def classify_all(
    pairs: Sequence[ModelAndTask],
    *,
    models: Models,
    tasks: Sequence[Path],
    settings: EncodingSettings,
    run: UnitRunner,
    name: str = "accuracies",
) -> Mapping[ModelAndTask, TestOutcome]:
    """Returns the test of each model on each task of `pairs`, among the classes of the task.

    `tasks` are the folders of the tasks. `name` is that of the computation.
    """
    units = list(dict.fromkeys(pairs))
    load = partial(Classifier, models, tasks, settings)
    states = run(Computation(name, units, load(), load=load, rows=lambda pair: 1, noun="accuracies"))
    infos = [read_task(folder) for folder in tasks]
    return {unit: outcome_of(infos[unit[1]], state.tensors) for unit, state in zip(units, states, strict=True)}


def classify_among_all(
    *, models: Models, tasks: Sequence[Path], settings: EncodingSettings, run: UnitRunner
) -> Mapping[ModelAndTask, Classification]:
    """Returns the test of each model on each task, among the classes of all tasks.

    A name that several tasks have is one class: its images are right where the texts of any of these tasks are nearest.
    Each task spells it in its own way. The features of a model on a task depend on nothing else, so the unit that
    computes them has a key.
    """
    load = partial(Encoder, models, tasks, settings)
    encoder = load()
    units = dict[str, ModelAndTask]()
    for model in models:
        for task in reversed(range(len(tasks))):  # first the newest one, whose images all models encode
            units.setdefault(encoder.key(model, task), (model, task))
    pairs, keys = list(units.values()), list(units)
    encoding = Computation("features", pairs, encoder, load=load, rows=lambda pair: 1, noun="test sets", keys=keys)
    features = {key: Features(**state.tensors) for key, state in zip(keys, run(encoding), strict=True)}
    test_sets = [settings.open(folder, CacheBudget(0)) for folder in tasks]
    numbers, names = one_class_a_name([images.task for images in test_sets])
    class_of_K = torch.tensor(list(chain.from_iterable(numbers)))
    tests = dict[ModelAndTask, Classification]()
    for model in models:
        of_model = [features[encoder.key(model, task)] for task in range(len(tasks))]
        image_ND = torch.cat([of_task.image_ND for of_task in of_model]).to(settings.device)
        class_KD = torch.cat([of_task.class_KD for of_task in of_model]).to(settings.device)
        predicted_N = class_of_K[predict(image_ND, class_KD).cpu()]
        parts = torch.split(predicted_N, [len(images) for images in test_sets])
        for task, (part_N, images) in enumerate(zip(parts, test_sets, strict=True)):
            labels_N = torch.tensor(numbers[task])[images.labels_N]
            tests[model, task] = Classification(part_N, labels_N, images.positions_N, names[task])
    return tests


def one_class_a_name(tasks: Sequence[TaskInfo]) -> tuple[list[list[int]], list[list[str]]]:
    """Returns the numbers of each task's classes among those of all, and the names of all classes in its spelling.

    Names that a text encoder cannot tell apart have one number.
    """
    known: dict[str, int] = {}
    numbers = []
    anywhere = dict[int, str]()  # the spelling of the last task that has the class
    for task in tasks:
        of_task = [known.setdefault(comparison_key(name), len(known)) for name in task.class_names]
        numbers.append(of_task)
        anywhere |= dict(zip(of_task, task.class_names, strict=True))
    names = []
    for task, of_task in zip(tasks, numbers, strict=True):
        spelled = anywhere | dict(zip(of_task, task.class_names, strict=True))
        names.append([spelled[number] for number in range(len(known))])
    return numbers, names


@dataclass(frozen=True)
class Features:
    """Unit features of a model on a task, on the CPU: of the test images, and of the classes."""

    image_ND: torch.Tensor
    class_KD: torch.Tensor


class Classifier:
    """Classifies test images.

    The model and the test set used last are kept. So the images of the last task, which every model classifies, are
    decoded once as far as CACHE_BYTES permit.
    """

    def __init__(self, models: Models, tasks: Sequence[Path], settings: EncodingSettings) -> None:
        self._models = models
        self._tasks = tasks
        self._settings = settings
        self._clip: tuple[int, Clip] | None = None
        self._test_set: tuple[int, TestSet] | None = None

    def __call__(self, pair: ModelAndTask, advance: Advance) -> State:
        """Returns the tensors of a model and a task."""
        tensors = self.tensors(*pair)
        advance(1)
        return State(tensors)

    def tensors(self, model: int, task: int) -> dict[str, torch.Tensor]:
        """Returns those of the test, int64."""
        clip, test_set = self._load(model), self._open(task)
        return TESTERS[test_set.task.kind](clip, test_set)

    def _load(self, model: int) -> Clip:
        if self._clip is None or self._clip[0] != model:
            self._clip = None  # two models at once would need twice the memory
            self._clip = model, self._settings.load(self._models[model])
        return self._clip[1]

    def _open(self, task: int) -> TestSet:
        if self._test_set is None or self._test_set[0] != task:
            cache_budget = CacheBudget(CACHE_BYTES if task == len(self._tasks) - 1 else 0)
            self._test_set = task, self._settings.open(self._tasks[task], cache_budget)
        return self._test_set[1]


class Encoder(Classifier):
    """Encodes the test images and the classes of tasks."""

    def tensors(self, model: int, task: int) -> dict[str, torch.Tensor]:
        """Returns those of Features."""
        clip, test_set = self._load(model), self._open(task)
        image_ND, class_KD = encode_test_set(clip, test_set), test_set.class_features(clip)
        return {"image_ND": image_ND.cpu(), "class_KD": class_KD.cpu()}

    def key(self, model: int, task: int) -> str:
        """Returns what distinguishes the features of these two."""
        of_models, of_tasks = self._hashes
        return f"{of_models[model]}-{of_tasks[task]}"

    @cached_property
    def _hashes(self) -> tuple[dict[int, str], list[str]]:
        of_models = {number: noted_hash(folder) for number, folder in self._models.items()}
        return of_models, [sha256_of(folder / "task.json") for folder in self._tasks]
