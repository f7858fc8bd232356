"""What the tests of the training loop share: a task of nine images, six pairs, methods, and a short training run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gift_core.artifacts.shards import Pair
from gift_core.artifacts.teacher_files import Features
from gift_core.clip.batches import TaskBatches, TrainingImages
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import Clip
from gift_core.config.experiment import TrainingConfig
from gift_core.config.method_options import MethodConfig
from gift_core.driving.processes import ALONE, DataParallel
from gift_core.driving.training import drive
from gift_core.method.methods import Method, build_method
from gift_core.method.replay.pairs import PairReplay
from gift_core.method.replay.source import Replay, Sampling, Teacher
from gift_core.method.replay.teacher_features import encode_pairs
from gift_core.method.training.encoders import GradientCache
from gift_core.method.training.loop import LossRow, learning_rates, sampled, training_run
from tests.clip.tiny import CPU, Picture, png, tiny_clip

GIFT_LOSSES = {"distill": {"weight": 1.0, "temperature": 2.0}, "align": {"weight": 0.25, "label_smoothing": 0.2}}
DRIVEN = ("on_iteration", "snapshot", "processes")  # options of driving.training.drive
PROMPTS = ["a cat.", "a dog.", "a cat.", "a horse.", "a bird.", "a fish."]


def training(iterations: int = 3, **changes: Any) -> TrainingConfig:
    settings = {"iterations": iterations, "batch_size": 4, "replay_batch_size": 4, "warmup_iterations": 1}
    settings |= {"weight_decay": 0.0, "betas": (0.9, 0.999), "label_smoothing": 0.2, "crop_scale": (0.9, 1.0)}
    settings |= {"micro_batch_size": None, "gradient_checkpointing": False}
    return TrainingConfig.model_validate(settings | changes)


def method_config(*, losses: dict[str, Any] | None = None, **consolidation: Any) -> MethodConfig:
    """A method with these replay losses and the options of its consolidation; without options it has none."""
    replay = {"images": "synthetic", "teacher": "previous"} if losses else {"images": "none"}
    row = {"replay": replay, "losses": losses or {}, "consolidation": consolidation or {"kind": "none"}}
    return MethodConfig.model_validate({"learning_rate": 1e-3, **row})


def gift(**slots: Any) -> MethodConfig:
    """GIFT, with other slots of its row."""
    row = method_config(losses=GIFT_LOSSES, kind="adaptive_fisher", weight=1.0).model_dump(exclude_none=True)
    return MethodConfig.model_validate(row | slots)


def task_images(clip: Clip, batch_size: int = 4) -> TrainingImages:
    images = [Picture(png(seed), seed % 3) for seed in range(9)]
    options: dict[str, Any] = {"batch_size": batch_size, "crop_scale": (0.9, 1.0), "names": ("test",)}
    prompts = ["a one.", "a two.", "a three."]
    return TrainingImages(clip, images, class_prompts=prompts, cache_budget=CacheBudget(), **options)


def pairs() -> list[Pair]:
    return [Pair(f"{row:05d}", row, prompt, png(100 + row)) for row, prompt in enumerate(PROMPTS)]


def encoded(clip: Clip, pairs: Sequence[Pair], *, batch_size: int, model: str = "a model") -> Features:
    """Returns the features, of which the metadata call the teacher `model`."""
    return encode_pairs(Teacher(clip, model), pairs, batch_size=batch_size)[0]


def pair_replay(teacher: Clip) -> PairReplay:
    features: Features = encoded(teacher, pairs(), batch_size=4)
    return PairReplay(teacher, pairs(), features, Sampling(4, 4, ("test",)))


def other_teacher(device: torch.device = CPU) -> PairReplay:
    """Replay with another model as teacher. Where student and teacher are equal, gradients are rounding noise."""
    return pair_replay(tiny_clip(seed=7, device=device))


def run(
    clip: Clip,
    config: MethodConfig,
    *,
    iterations: int = 3,
    replay: Replay | None = None,
    method: Method | None = None,
    batches: TaskBatches | None = None,
    **changes: Any,
) -> list[LossRow]:
    """Trains `clip` in place as the stage finetune does, and returns the rows.

    `changes` are options of driving.training.drive and of the section training.
    """
    driven: dict[str, Any] = {"processes": ALONE} | {name: changes.pop(name) for name in DRIVEN if name in changes}
    settings, processes = training(iterations, **changes), driven["processes"]
    images: TaskBatches = batches or task_images(clip, settings.batch_size)
    replayed = replay or (pair_replay(clip) if len(config.losses) else None)
    encoders = GradientCache(clip, settings.micro_batch_size)
    strategy = encoders if processes.count == 1 else DataParallel(clip, encoders, processes)
    peak = config.learning_rate or 0.0
    rates = learning_rates(iterations, warmup_iterations=settings.warmup_iterations, peak=peak)
    slots: dict[str, Any] = {"method": method or build_method(config), "training": settings, "rates": rates, "seed": 1}
    with training_run(clip, images.class_prompts, encoders=strategy, **slots) as trained:
        drive(trained, lambda first: sampled(images, replayed, range(first, iterations)), **driven)
    return trained.rows
