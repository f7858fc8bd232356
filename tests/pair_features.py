"""PairFeatures whose student features are given, not computed."""

from __future__ import annotations

import torch

from gift_core.losses import PairFeatures


def pair_features(
    student_image_MD: torch.Tensor,
    student_text_MD: torch.Tensor,
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
    prompt_ids_M: torch.Tensor,
    scale: torch.Tensor,
) -> PairFeatures:
    """Returns the features as a loss takes them."""
    return PairFeatures(
        lambda: student_image_MD, lambda: student_text_MD, teacher_image_MD, teacher_text_MD, prompt_ids_M, scale
    )
