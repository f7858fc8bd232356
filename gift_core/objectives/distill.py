"""Contrastive distillation: the student keeps the teacher's image-text similarities of the replayed pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from gift_core.objectives.encodings import Encodings, student_logits, teacher_logits


@dataclass(frozen=True)
class ContrastiveDistillation:
    """CE(S / T, softmax(Z / T)) * T^2 over the rows, plus the same over the columns (GIFT, section 3.2)."""

    temperature: float

    def __call__(self, encodings: Encodings) -> torch.Tensor:
        """The sum of both directions, a scalar >= 0, in nats times T^2."""
        return both_directions(student_logits(encodings), teacher_logits(encodings), temperature=self.temperature)


def both_directions(student_MM: torch.Tensor, teacher_MM: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """The soft cross-entropy over the rows plus that over the columns."""
    by_image = soft_cross_entropy(student_MM, teacher_MM, temperature=temperature)
    by_text = soft_cross_entropy(student_MM.T, teacher_MM.T, temperature=temperature)
    return by_image + by_text


def soft_cross_entropy(student_RC: torch.Tensor, teacher_RC: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Mean over the R rows of CE(student / T, softmax(teacher / T)), times T^2. No gradient reaches the teacher."""
    targets_RC = (teacher_RC.detach() / temperature).softmax(dim=1)
    return functional.cross_entropy(student_RC / temperature, targets_RC) * temperature**2
