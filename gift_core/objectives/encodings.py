"""What a replay term sees: the student's and the teacher's features of the replayed images and texts.

M pairs, D features. Where images and texts are no pairs there may be another number of texts than of images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch


class Encodings(Protocol):
    """Unit features of M images and their texts.

    `prompt_ids_M` is equal for two pairs exactly when their prompts are the same text. `scale` is s, the temperature
    that multiplies cosines. Only the student's features carry gradients, and a term pays for those that it reads: an
    encoder runs when its features are first asked for.
    """

    @property
    def student_image_MD(self) -> torch.Tensor:
        """The student's features of the images, with gradients."""
        ...

    @property
    def student_text_MD(self) -> torch.Tensor:
        """The student's features of the texts, with gradients."""
        ...

    @property
    def teacher_image_MD(self) -> torch.Tensor:
        """The teacher's features of the images."""
        ...

    @property
    def teacher_text_MD(self) -> torch.Tensor:
        """The teacher's features of the texts."""
        ...

    @property
    def prompt_ids_M(self) -> torch.Tensor:
        """int64, equal where two pairs' prompts are."""
        ...

    @property
    def scale(self) -> torch.Tensor:
        """s, 0-dimensional."""
        ...


Term = Callable[[Encodings], torch.Tensor]


@dataclass(frozen=True)
class LazyEncodings:
    """Encodings whose student features are computed once, when they are first read."""

    encode_images: Callable[[], torch.Tensor]
    encode_texts: Callable[[], torch.Tensor]
    teacher_image_MD: torch.Tensor
    teacher_text_MD: torch.Tensor
    prompt_ids_M: torch.Tensor
    scale: torch.Tensor

    @cached_property
    def student_image_MD(self) -> torch.Tensor:
        """The student's features of the images."""
        return self.encode_images()

    @cached_property
    def student_text_MD(self) -> torch.Tensor:
        """The student's features of the texts."""
        return self.encode_texts()


@dataclass(frozen=True)
class ReplayEncodings:
    """Encodings that are all there."""

    student_image_MD: torch.Tensor
    student_text_MD: torch.Tensor
    teacher_image_MD: torch.Tensor
    teacher_text_MD: torch.Tensor
    prompt_ids_M: torch.Tensor
    scale: torch.Tensor


def student_logits(encodings: Encodings) -> torch.Tensor:
    """S [M, M]: rows are images, columns are texts."""
    return encodings.scale * encodings.student_image_MD @ encodings.student_text_MD.T


def teacher_logits(encodings: Encodings) -> torch.Tensor:
    """Z [M, M]: the same of the teacher."""
    return encodings.scale * encodings.teacher_image_MD @ encodings.teacher_text_MD.T
