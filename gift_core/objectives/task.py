"""The loss of the task that is being learned.  B images, K classes, D features."""

from __future__ import annotations

import torch
from torch.nn import functional


def task_loss(
    image_BD: torch.Tensor,
    class_KD: torch.Tensor,
    *,
    labels_B: torch.Tensor,
    scale: torch.Tensor,
    label_smoothing: float,
) -> torch.Tensor:
    """Cross-entropy of the scaled cosines to the task's class prompts; a scalar, in nats (paper, section 3.1)."""
    return functional.cross_entropy(scale * image_BD @ class_KD.T, labels_B, label_smoothing=label_smoothing)
