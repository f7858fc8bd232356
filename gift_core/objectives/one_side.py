"""Distillation of one tower: the other side of the similarities is the teacher's, so only one tower is pulled."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gift_core.objectives.distill import both_directions
from gift_core.objectives.encodings import Encodings, teacher_logits


@dataclass(frozen=True)
class ImageSideDistillation:
    """Student's images against the teacher's texts: the distillation of LwF and ZSCL (ZSCL, section 3.2).

    Soft cross-entropy at temperature T over rows and over columns. The text tower gets no gradient and is not run.
    """

    temperature: float

    def __call__(self, encodings: Encodings) -> torch.Tensor:
        """The sum of both directions, a scalar >= 0, in nats times T^2."""
        student_MM = encodings.scale * encodings.student_image_MD @ encodings.teacher_text_MD.T
        return both_directions(student_MM, teacher_logits(encodings), temperature=self.temperature)


@dataclass(frozen=True)
class TextSideDistillation:
    """The teacher's images against the student's texts: only the text tower is pulled."""

    temperature: float

    def __call__(self, encodings: Encodings) -> torch.Tensor:
        """The sum of both directions, a scalar >= 0, in nats times T^2."""
        student_MM = encodings.scale * encodings.teacher_image_MD @ encodings.student_text_MD.T
        return both_directions(student_MM, teacher_logits(encodings), temperature=self.temperature)
