"""A tiny experiment on disk: three tasks with synthetic pairs, a pre-trained model, and the stages of one method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from typer.testing import Result

from gift_core.artifacts.model_folder import noted_hash
from gift_core.artifacts.prompt_files import VocabularyEntry, write_vocabulary
from gift_core.artifacts.shards import Pair, pair_key, write_manifest, write_shard
from gift_core.clip.model import Clip, load_folder, save_clip
from gift_core.config.loading import load_config
from gift_core.config.method_options import MethodConfig
from gift_core.layout import Layout
from gift_core.method.methods import TrainingData, build_method, load_replay, load_training_data
from gift_core.method.replay.source import Replay, StepReplay
from gift_core.method.replay.teach import replay_of
from stages.finetune import finetune
from stages.stage import Stage
from stages.teach import teach
from tests.clip.tiny import png, tiny_clip
from tests.imports import sequence_of
from tests.made import made_task
from tests.stages.experiment import gift

CLASSES = {"birds": ("tit", "wren", "owl"), "digits": ("one", "two"), "letters": ("alpha", "beta")}
TEMPLATES = ("a photo of a {}.", "the {}")
CAPTIONS = ("a cat.", "a dog.", "a cat.", "a horse.", "a bird.", "a cat.", "a fish.")
BASE = ("horse", "fox", "cat", "cow")  # class names of the vocabulary before any task; captions are about two of them
BATCH_SIZE = 4


def make_world(root: Path) -> Layout:
    """Tasks of 12 training images, 7 synthetic pairs of 5 prompts before each with the vocabulary, and a model."""
    layout = Layout(root)
    vocabulary = [VocabularyEntry("base", name, ("a {}.",)) for name in BASE]
    write_vocabulary(layout.base_vocabulary(), vocabulary)
    for number, task in enumerate(CLASSES):
        write_images(layout.task(task), seed=100 * number)
        write_pairs(layout.shards(task), seed=100 * number + 50)
        vocabulary += [VocabularyEntry(task, name, TEMPLATES) for name in CLASSES[task]]
        write_vocabulary(layout.vocabulary(task), vocabulary)
    save_clip(tiny_clip(), layout.pretrained(), {})
    return layout


def write_images(folder: Path, *, seed: int) -> None:
    """The task that the folder is named after: image `seed` + n has label n modulo the number of classes."""
    names = CLASSES[folder.name]
    made_task(folder, [row % len(names) for row in range(12)], names, TEMPLATES, test=[0, 1], first=seed)


def write_pair_task(folder: Path) -> None:
    """The task that the folder is named after: image n has the captions `picture n` and `the nth`."""
    captions = [(f"picture {row}", f"the {row}th") for row in range(9)]
    made_task(folder, captions, ("picture 0", "the 1th"), ("{}",))


def write_pairs(folder: Path, *, seed: int) -> list[Pair]:
    """One shard of pairs: image `seed` + n with caption n."""
    pairs = [Pair(pair_key(0, row), row, caption, png(seed + row)) for row, caption in enumerate(CAPTIONS)]
    folder.mkdir(parents=True)
    write_shard(folder, 0, pairs, {})
    write_manifest(folder, {}, {"count": len(pairs), "sha256": "of the prompts"})
    return pairs


def moved(clip: Clip, *, seed: int, distance: float = 0.02) -> Clip:
    """Adds noise to the trainable weights of `clip`, as if it had been trained; returns it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in clip.trainable().values():
            value.add_(distance * torch.randn(value.shape, generator=generator))
    return clip


def load(folder: Path) -> Clip:
    """The model in `folder`, on the CPU."""
    return load_folder(folder, device=torch.device("cpu"), precision="fp32")


class TinyExperiment:
    """One method in a tiny world: the real stages teach and finetune, and the data they read."""

    def __init__(
        self,
        layout: Layout,
        params: dict[str, Any],
        method: str,
        row: dict[str, Any],
        *,
        iterations: int,
        probes: Sequence[str] = (),
    ) -> None:
        """Writes params.yaml with `row` as the only method, and a model after birds that is not the pre-trained one.

        `probes`: of the tasks, those that no step learns.
        """
        params["run"] |= {"methods": [method], "device": "cpu"}
        params["methods"] = {method: row}
        folder = {"source": "folder", "templates": list(TEMPLATES), "test_fraction": 0.2, "on_bad_image": "refuse"}
        params["tasks"] = {name: folder | {"path": f"data/0_raw/{name}"} for name in CLASSES}
        learned = [name for name in CLASSES if name not in probes]
        params["sequence"] = sequence_of(learned)
        params["evaluation"]["probes"] = [*probes]
        sizes = dict.fromkeys(("batch_size", "replay_batch_size"), BATCH_SIZE)
        params["training"] |= {"iterations": iterations, "warmup_iterations": 1, **sizes}
        self.layout, self.method = layout, method
        self.params = layout.root / f"{method}.yaml"
        self.params.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        self.stage = Stage("test", load_config(self.params), layout, method)
        after_birds = moved(load(layout.pretrained()), seed=1)
        provenance = {"method": method, "task": "birds", "start_model": noted_hash(layout.pretrained())}
        save_clip(after_birds, layout.model(method, "birds"), provenance)

    @property
    def row(self) -> MethodConfig:
        return self.stage.row

    def run(self, task: str) -> Clip:
        """The model after `task`, by the stages teach and finetune."""
        teach(self.method, task, params=self.params, root=self.layout.root)
        finetune(self.method, task, params=self.params, root=self.layout.root)
        return load(self.layout.model(self.method, task))

    def gift(self, *words: str, expect: int = 0) -> Result:
        """Runs a command on the experiment."""
        return gift(*words, "--params", self.params, "--root", self.layout.root, expect=expect)

    def replayed(self, task: str) -> StepReplay[Any]:
        return replay_of(self.stage.config, self.layout, self.method, task)

    def training_data(self, clip: Clip, task: str) -> TrainingData:
        """The task images of the step, as finetune reads them."""
        seed, training = self.stage.config.seed, self.stage.config.training
        tasks = replace(self.stage, task=task).task_folders
        return load_training_data(self.row, clip, tasks, training=training, names=("finetune", seed))

    def replay(self, clip: Clip, task: str) -> Replay:
        """The replay of the step, as finetune reads it."""
        return load_replay(build_method(self.row), clip, self.replayed(task))
