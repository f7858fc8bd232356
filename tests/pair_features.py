"""PairFeatures whose student features are given, not computed, and options for every loss."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from gift_core.losses import Loss
from gift_core.pair_features import PairFeatures, ReplayBatch

# By the names of gift_core.losses.LOSSES.
LOSS_OPTIONS: dict[str, dict[str, float]] = {
    "distill": {"temperature": 2.0},
    "distill_vocabulary": {"temperature": 2.0},
    "distill_reverse_kl": {"temperature": 2.0},
    "distill_features": {},
    "distill_image_side": {"temperature": 2.0},
    "distill_text_side": {"temperature": 2.0},
    "align": {"label_smoothing": 0.2},
}


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
