"""Image-text alignment: a replayed image belongs to its own prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from gift_core.objectives.encodings import Encodings, student_logits


@dataclass(frozen=True)
class ImageTextAlignment:
    """Cross-entropy of S against the pairing itself, over rows plus over columns (GIFT, section 3.2)."""

    label_smoothing: float

    def __call__(self, encodings: Encodings) -> torch.Tensor:
        """The sum of both directions, a scalar >= 0, in nats."""
        student_MM = student_logits(encodings)
        targets_MM = shared_prompt_targets(encodings.prompt_ids_M)
        by_image = functional.cross_entropy(student_MM, targets_MM, label_smoothing=self.label_smoothing)
        by_text = functional.cross_entropy(student_MM.T, targets_MM, label_smoothing=self.label_smoothing)
        return by_image + by_text


def shared_prompt_targets(prompt_ids_M: torch.Tensor) -> torch.Tensor:
    """Rows of probabilities [M, M]: pairs drawn from the same prompt share the mass equally. Symmetric."""
    same_MM = (prompt_ids_M[:, None] == prompt_ids_M[None, :]).float()
    return same_MM / same_MM.sum(dim=1, keepdim=True)
