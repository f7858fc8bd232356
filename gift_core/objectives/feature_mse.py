"""Distillation of the features themselves: each tower keeps its own, whatever the similarities between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from gift_core.objectives.encodings import Encodings


@dataclass(frozen=True)
class FeatureDistillation:
    """Squared error between the student's and the teacher's unit features, of the images plus of the texts."""

    def __call__(self, encodings: Encodings) -> torch.Tensor:
        """The sum over both towers of the mean over rows and features; a scalar from 0 to 8 / D."""
        images = functional.mse_loss(encodings.student_image_MD, encodings.teacher_image_MD.detach())
        texts = functional.mse_loss(encodings.student_text_MD, encodings.teacher_text_MD.detach())
        return images + texts
