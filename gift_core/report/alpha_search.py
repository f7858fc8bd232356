"""Which alpha suits a method's release: what the learned tasks lose against the trained model, and what probes gain.

N images of a task, or images and captions where captions are retrieved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from gift_core.artifacts.model_folder import WEIGHTS, model_hash
from gift_core.artifacts.task import read_task, write_task
from gift_core.clip.images import CACHE_BYTES, CacheBudget
from gift_core.clip.task_tests import Classification, Test, test_of
from gift_core.config.experiment import Config
from gift_core.datasets.ingest import validation_images
from gift_core.layout import Layout
from gift_core.method.averaging import released_weights
from gift_core.method.classifier import EncodingSettings
from gift_core.progress import progress
from gift_core.report.rate_search import sample_training_images

MOST = 500  # training images of each task that are tested


@dataclass(frozen=True)
class Release:
    """A release that was tested. `right`: which answers on each learned task are right, float [N], with the accuracy as
    their mean. `probes`: the accuracy (0-1) on each probe."""

    alpha: float
    right: Mapping[str, np.ndarray]
    probes: Mapping[str, float]

    @property
    def learned(self) -> float:
        """The mean accuracy on the learned tasks in percent."""
        return 100 * float(np.mean([each.mean() for each in self.right.values()]))

    @property
    def kept(self) -> float | None:
        """The mean accuracy on the probes in percent, None without any."""
        return 100 * float(np.mean([*self.probes.values()])) if self.probes else None


@dataclass(frozen=True)
class AlphaSearch:
    """The releases in the order of their alphas. The last one, 1, is the trained model."""

    releases: Sequence[Release]

    def change(self, release: Release) -> tuple[float, float]:
        """Returns what the learned tasks gain over alpha 1 in points, and its standard error, paired by image."""
        differences = [release.right[task] - right for task, right in self.releases[-1].right.items()]
        variance = sum(each.var() / len(each) for each in differences)
        return release.learned - self.releases[-1].learned, 100 * math.sqrt(variance) / len(differences)

    @property
    def proposed(self) -> Release:
        """The one with the smallest alpha at which, and at all above it, no more than a standard error is lost."""
        found = self.releases[-1]
        for release in reversed(self.releases):
            change, error = self.change(release)
            if change < -error - 1e-9:
                break
            found = release
        return found


def write_validation_parts(layout: Layout, config: Config, folder: Path) -> dict[str, bool]:
    """Writes each task of the sequence into `folder`, with validation images as its test split.

    These are the data set's own ones, which no model has seen, or else MOST training images. Returns which they are:
    {task: whether no model has seen them}.
    """
    unseen = {}
    for task in (step.task for step in config.sequence):
        row, source = config.tasks[task], layout.task(task)
        own = validation_images(task, row, stored=config.ingest, seed=config.seed, root=layout.root)
        unseen[task] = own is not None
        if own is None:
            sample_training_images(source, folder / task, most=MOST, seed=config.seed)
        else:
            write_task(folder / task, read_task(source), [], own, images_per_shard=MOST)
    return unseen


def search_alphas(
    alphas: Sequence[float],
    *,
    trained: Path,
    pretrained: Path,
    learned: Sequence[Path],
    probes: Sequence[Path],
    settings: EncodingSettings,
) -> AlphaSearch:
    """Tests the releases of the model `trained` at `alphas` and at 1. All are folders of models and of tasks."""
    for model in (trained, pretrained):
        model_hash(model)
    start, end = (load_file(model / WEIGHTS) for model in (pretrained, trained))
    clip, budget = settings.load(trained), CacheBudget(CACHE_BYTES)
    sets = {folder: settings.open(folder, budget) for folder in (*learned, *probes)}

    chosen, releases = sorted({*alphas, 1.0}), []
    for alpha in progress(chosen, len(chosen), "alphas"):
        clip.model.load_state_dict(released_weights(end, start, alpha=alpha))
        right = {folder.name: right_of(test_of(clip, sets[folder])) for folder in learned}
        of_probes = {folder.name: test_of(clip, sets[folder]).top1 for folder in probes}
        releases.append(Release(alpha, right, of_probes))
    return AlphaSearch(releases)


def right_of(test: Test) -> np.ndarray:
    """Returns which answers of a test are right, float [N]. Its mean is top1: images and captions count the same."""
    if isinstance(test, Classification):
        return (test.predicted_N == test.labels_N).double().numpy()
    ranks, images = test.ranks_Q, test.count
    half, captions = len(ranks) / 2, len(ranks) - images
    weights = torch.cat([torch.full((count,), half / count) for count in (images, captions)])
    right: np.ndarray = ((ranks == 1) * weights).numpy()
    return right
