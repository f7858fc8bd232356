"""Distillation by the reverse divergence: the student is punished where it is sure and the teacher is not."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gift_core.objectives.encodings import Encodings, student_logits, teacher_logits


@dataclass(frozen=True)
class ReverseKlDistillation:
    """KL(student || teacher) * T^2 over the rows, plus the same over the columns (GIFT, section 4.3)."""

    temperature: float

    def __call__(self, encodings: Encodings) -> torch.Tensor:
        """The sum of both directions, a scalar >= 0, in nats times T^2; 0 where student and teacher agree."""
        student_MM, teacher_MM = student_logits(encodings), teacher_logits(encodings)
        by_image = reverse_kl(student_MM, teacher_MM, temperature=self.temperature)
        by_text = reverse_kl(student_MM.T, teacher_MM.T, temperature=self.temperature)
        return by_image + by_text


def reverse_kl(student_RC: torch.Tensor, teacher_RC: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Mean over the R rows of KL(softmax(student / T) || softmax(teacher / T)), times T^2. None reaches the teacher."""
    student_log_RC = (student_RC / temperature).log_softmax(dim=1)
    teacher_log_RC = (teacher_RC.detach() / temperature).log_softmax(dim=1)
    return (student_log_RC.exp() * (student_log_RC - teacher_log_RC)).sum(dim=1).mean() * temperature**2
