"""PairFeatures whose student features are given, not computed, and options for every loss."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import torch

from gift_core.config.method_options import LossesConfig
from gift_core.method.losses import Loss
from gift_core.method.pair_features import PairFeatures, ReplayBatch

VALUES = {"temperature": 2.0, "label_smoothing": 0.2}
# By the names of the losses in params.yaml: their options without the weight.
LOSS_OPTIONS: dict[str, dict[str, float]] = {
    name: {option: VALUES[option] for option in get_args(field.annotation)[0].model_fields if option != "weight"}
    for name, field in LossesConfig.model_fields.items()
}


def unit_rows(count: int, seed: int, width: int = 3) -> torch.Tensor:
    """Random features [count, width]."""
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1)


def pair_features(
    student_image_MD: torch.Tensor,
    student_text_MD: torch.Tensor,
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
    prompt_ids_M: torch.Tensor,
    scale: torch.Tensor,
) -> PairFeatures:
    """Returns the features as a loss takes them. The pairs are all that are replayed, their texts the vocabulary."""
    numbers, nothing = torch.arange(len(teacher_image_MD)), torch.empty(0)
    batch = ReplayBatch(
        nothing, nothing, prompt_ids_M, teacher_image_MD, teacher_text_MD, teacher_text_MD, teacher_image_MD, numbers
    )
    return PairFeatures(batch, lambda images: student_image_MD, lambda tokens: student_text_MD, scale)


def loss_of(loss: Loss, features: PairFeatures, **options: Any) -> torch.Tensor:
    """Returns the value of a loss on features, as the training loop computes it."""
    return features.evaluate(partial(loss, **options))
