"""A method is data: what it learns, replays and adds, what pulls the weights back, and which are kept of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gift_core.anchors.table import Anchor, build_anchor
from gift_core.artifacts.fisher import FISHER, read_fisher
from gift_core.artifacts.task import read_task
from gift_core.artifacts.task_images import index_task
from gift_core.clip.batches import JointImages, TaskBatches, TrainingImages
from gift_core.clip.model import Clip
from gift_core.clip.pixels import Allowance
from gift_core.clip.zero_shot import class_prompts
from gift_core.objectives.table import TERMS
from gift_core.replay.pairs import NoReplay, Replay
from gift_core.replay.table import REPLAYS, ReplaySource
from gift_core.weights import Interpolation, Keeper, Parameters, RunningMean

if TYPE_CHECKING:
    from gift_core.config.experiment import TrainingConfig
    from gift_core.config.methods import MethodConfig
    from gift_core.objectives.encodings import Term


@dataclass(frozen=True)
class WeightedTerm:
    """A replay term and the weight it enters the total with."""

    weight: float
    term: Term


def keep_all(parameters: Parameters) -> tuple[Keeper, ...]:
    """No keeper: the weights stay as the last step left them."""
    return ()


@dataclass(frozen=True)
class Method:
    """The slots the training loop reads.

    `terms` by name, in the order of the table; `build_anchor` and `build_keepers` take the trainable parameters at the
    start of a task.
    """

    terms: Mapping[str, WeightedTerm]
    build_anchor: Callable[[Parameters], Anchor]
    build_keepers: Callable[[Parameters], tuple[Keeper, ...]] = keep_all


def build_method(config: MethodConfig, *, fisher: Mapping[str, torch.Tensor] | None = None) -> Method:
    """The method that `config` describes; `fisher` holds the teacher's diagonals by name (see load_fisher)."""
    return Method(
        terms={
            name: WeightedTerm(options.weight, TERMS[name](**options.keywords()))
            for name, options in config.losses.items()
        },
        build_anchor=lambda parameters: build_anchor(parameters, fisher or {}, **config.consolidation.model_dump()),
        build_keepers=lambda parameters: _keepers(config, parameters),
    )


def _keepers(config: MethodConfig, parameters: Parameters) -> tuple[Keeper, ...]:
    """The mean first, then the mix with the start weights: the order in which they finish."""
    mean = [RunningMean(parameters, every=config.average.every)] if config.average else []
    mix = [Interpolation(parameters, alpha=config.merge.alpha)] if config.merge else []
    return (*mean, *mix)


def load_replay(config: MethodConfig, clip: Clip, source: ReplaySource) -> Replay:
    """The replay that `config` names, read from `source`; nothing where no term would look at it."""
    return REPLAYS[config.replay.images].load(clip, config.replay, source) if config.losses else NoReplay()


def load_fisher(config: MethodConfig, teacher: Path) -> dict[str, torch.Tensor]:
    """The diagonals by name that stage teach wrote into `teacher`; empty where the anchor asks for none."""
    if not config.consolidation.needs_fisher:
        return {}
    return {name: torch.from_numpy(values) for name, values in read_fisher(teacher / FISHER).diagonals.items()}


@dataclass(frozen=True)
class Lessons:
    """The task images of one step of the sequence, and for how many training steps they are learned."""

    batches: TaskBatches
    steps: int
    class_count: int


def load_lessons(
    config: MethodConfig, clip: Clip, tasks: Sequence[Path], *, training: TrainingConfig, names: tuple[str | int, ...]
) -> Lessons:
    """What the method learns when the last of `tasks`, the folders of all tasks so far, is new.

    Batches are named by `names` and the task alone, so all methods see the same ones.
    """
    chosen, allowance = LEARNS[config.learns](tasks), Allowance()
    images = [_training_images(clip, folder, training, names, allowance) for folder in chosen]
    batches = images[0] if len(images) == 1 else JointImages(images, names)
    return Lessons(batches, training.iterations * len(images), len(batches.class_prompts))


# By the name of `learns` in params.yaml: which of the tasks so far.
LEARNS: Mapping[str, Callable[[Sequence[Path]], Sequence[Path]]] = {
    "task": lambda tasks: tasks[-1:],
    "seen": lambda tasks: tasks,
    "nothing": lambda tasks: (),
}


def _training_images(
    clip: Clip, folder: Path, training: TrainingConfig, names: tuple[str | int, ...], allowance: Allowance
) -> TrainingImages:
    info = read_task(folder)
    return TrainingImages(
        clip,
        index_task(folder, "train"),
        class_prompts=class_prompts(info.class_names, info.templates),
        batch_size=training.batch_size,
        crop_scale=training.crop_scale,
        names=(*names, info.name),
        allowance=allowance,
    )
