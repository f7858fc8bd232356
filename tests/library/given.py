"""What a caller of the library has: a tiny open_clip model, its tokenizer, loaders and pairs."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.model import set_model_preprocess_cfg
from torch.utils.data import DataLoader

import gift_core
from gift_core.clip.images import evaluation_transform
from tests.clip.tiny import TOKENIZER, picture, tiny_clip
from tests.method.training.tiny_training import GIFT_LOSSES, PROMPTS

CLASS_PROMPTS = ["a one.", "a two.", "a three."]
GIFT: dict[str, Any] = {
    "learning_rate": 1e-3,
    "losses": GIFT_LOSSES,
    "consolidation": {"kind": "adaptive_fisher", "weight": 1.0},
}
PREPARE = evaluation_transform(tiny_clip())  # made once: making a model seeds torch's random numbers
SMALL = gift_core.Training(replay_batch_size=4)


def given_model(*, seed: int = 0, tower: str = "vit") -> Any:
    """A tiny open_clip model with its preprocessing, as open_clip's factory returns it."""
    clip = tiny_clip(seed=seed, tower=tower)
    set_model_preprocess_cfg(clip.model, clip.config["preprocess_cfg"])
    return clip.model


def images(count: int, *, first: int = 0) -> list[torch.Tensor]:
    """Normalized images [3, S, S]."""
    return [PREPARE(picture(first + number)) for number in range(count)]


def given_loader(*, shuffle: bool = False) -> DataLoader[Any]:
    """Nine images of three classes."""
    data = [(image, number % 3) for number, image in enumerate(images(9))]
    return DataLoader(data, batch_size=4, shuffle=shuffle)  # type: ignore[arg-type]


def given_pairs() -> list[tuple[Any, str]]:
    """Six pairs, two of them with one prompt."""
    return list(zip(images(6, first=100), PROMPTS, strict=True))


def finetuned(
    model: Any = None, loader: Any = None, class_prompts: Any = None, **options: Any
) -> list[dict[str, float]]:
    """The rows of gift_core.finetune for what is given, and three iterations of a tiny GIFT for all else."""
    settings = {"pairs": given_pairs(), "method": GIFT, "iterations": 3, "training": SMALL} | options
    tokenizer = settings.pop("tokenizer", TOKENIZER)
    return gift_core.finetune(
        given_model() if model is None else model,
        tokenizer,
        given_loader() if loader is None else loader,
        CLASS_PROMPTS if class_prompts is None else class_prompts,
        **settings,
    )
