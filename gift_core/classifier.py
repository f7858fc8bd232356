"""The classes that models give to the test images of tasks, each pair of a model and a task computed once.

N images of a test set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import torch

from gift_core.artifacts.model_folder import noted_hash
from gift_core.artifacts.snapshot import Saved, Snapshot
from gift_core.artifacts.task import read_own_task
from gift_core.clip.device import resolve_device
from gift_core.clip.images import CACHE_BYTES, CacheBudget
from gift_core.clip.model import Clip, load_folder
from gift_core.clip.test_set import TestSet, nearest_classes
from gift_core.progress import progress_bar
from gift_core.spread import spread


@dataclass(frozen=True)
class EncodingSettings:
    """How models are loaded and images encoded."""

    device: torch.device
    precision: str
    batch_size: int

    def load(self, folder: Path) -> Clip:
        """Returns the model in `folder`, whose weights have been hashed before (_hashes)."""
        return load_folder(folder, device=self.device, precision=self.precision, sha256=noted_hash(folder))


@dataclass(frozen=True)
class Test:
    """What a model says of test images: predicted and label, int64 [N] on the CPU, indices into `classes`."""

    predicted_N: torch.Tensor
    labels_N: torch.Tensor
    classes: Sequence[str]


class Classifier:
    """The classes that models give to the test images of tasks, each pair computed once.

    The model and the test set used last are kept. So the images of the last task, which every model classifies, are
    decoded once as far as CACHE_BYTES permit. The labels are in the snapshot, too: known images are not read again.
    """

    def __init__(
        self,
        models: Mapping[str, Path],
        tasks: Mapping[str, Path],
        hashes: Mapping[str, str],
        settings: EncodingSettings,
        snapshot: Snapshot,
    ) -> None:
        self._lock, self._load_elsewhere = Lock(), partial(_load_classifier, models, tasks, hashes, settings)
        self._models, self._tasks = list(models.values()), list(tasks.values())
        self._keys = pair_keys(hashes, models, tasks)
        self._label_keys = [f"labels {hashes[f'task:{task}']}" for task in tasks]
        self._settings, self._snapshot = settings, snapshot
        self._clip: tuple[int, Clip] | None = None
        self._test_set: tuple[int, TestSet] | None = None
        saved = self._snapshot.read()
        self._known: dict[str, torch.Tensor] = {} if saved is None else dict(saved.tensors)
        if self._known:
            tests = sum(key not in self._label_keys for key in self._known)
            self._snapshot.say(f"continues with {tests} known accuracies")

    def classify(self, model: int, task: int) -> Test:
        """The test of a model on a task, among the classes of the task."""
        key, of_labels = self._keys[task][model + 1], self._label_keys[task]
        if key not in self._known:
            test_set = self._open(task)
            predicted_N = nearest_classes(self._load(model), test_set)
            self._learn((model, task), (predicted_N, test_set.labels_N))
            self._snapshot.keep(lambda: Saved(self._known, {}))
        return Test(self._known[key], self._known[of_labels], read_own_task(self._tasks[task]).class_names)

    def classify_all(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Makes all tests of a model and a task known. Helpers take some where it takes long (gift_core.spread)."""
        missing = [pair for pair in dict.fromkeys(pairs) if self._keys[pair[1]][pair[0] + 1] not in self._known]
        done = len(pairs) - len(missing)
        with progress_bar(len(pairs), "accuracies", done=done) as bar:

            def take(pair: tuple[int, int], tensors: tuple[torch.Tensor, torch.Tensor]) -> None:
                self._learn(pair, tensors)
                bar.update()

            with spread(missing, self._load_elsewhere, take=take, say=self._snapshot.say) as work:
                for model, task in work:
                    self.classify(model, task)
                    bar.update()

    def _learn(self, pair: tuple[int, int], tensors: tuple[torch.Tensor, torch.Tensor]) -> None:
        model, task = pair
        with self._lock:  # a new dictionary, since a snapshot may read the old one meanwhile
            names = self._keys[task][model + 1], self._label_keys[task]
            self._known = {**self._known, **dict(zip(names, tensors, strict=True))}

    def _load(self, model: int) -> Clip:
        if self._clip is None or self._clip[0] != model:
            self._clip = None  # two models at once would need twice the memory
            self._clip = model, self._settings.load(self._models[model + 1])
        return self._clip[1]

    def _open(self, task: int) -> TestSet:
        if self._test_set is None or self._test_set[0] != task:
            cache_budget = CacheBudget(CACHE_BYTES if task == len(self._tasks) - 1 else 0)
            self._test_set = (
                task,
                TestSet(self._tasks[task], batch_size=self._settings.batch_size, cache_budget=cache_budget),
            )
        return self._test_set[1]


def _load_classifier(
    models: Mapping[str, Path], tasks: Mapping[str, Path], hashes: Mapping[str, str], settings: EncodingSettings
) -> Callable[[tuple[int, int]], tuple[torch.Tensor, torch.Tensor]]:
    """In a helper: returns what gives predictions and labels of a model and a task."""
    resolve_device(str(settings.device))
    classifier = Classifier(models, tasks, hashes, settings, Snapshot())

    def classify(pair: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        test = classifier.classify(*pair)
        return test.predicted_N, test.labels_N

    return classify


def pair_keys(hashes: Mapping[str, str], models: Mapping[str, Path], tasks: Mapping[str, Path]) -> list[list[str]]:
    """A key for each model on the test set of each task, [task][model]: the hashes of both."""
    return [[f"{hashes[f'model:{model}']} {hashes[f'task:{task}']}" for model in models] for task in tasks]
