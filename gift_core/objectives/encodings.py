"""What a replay term sees: the student's and the teacher's features of the same M pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ReplayEncodings:
    """Unit features of M (image, text) pairs.

    `prompt_ids_M` is equal for two pairs exactly when their prompts are the same text. `scale` is s, the temperature
    that multiplies cosines. Only the student's features carry gradients.
    """

    student_image_MD: torch.Tensor
    student_text_MD: torch.Tensor
    teacher_image_MD: torch.Tensor
    teacher_text_MD: torch.Tensor
    prompt_ids_M: torch.Tensor
    scale: torch.Tensor

    def student_logits(self) -> torch.Tensor:
        """S [M, M]: rows are images, columns are texts."""
        return self.scale * self.student_image_MD @ self.student_text_MD.T

    def teacher_logits(self) -> torch.Tensor:
        """Z [M, M]: the same of the teacher."""
        return self.scale * self.teacher_image_MD @ self.teacher_text_MD.T


Term = Callable[[ReplayEncodings], torch.Tensor]
