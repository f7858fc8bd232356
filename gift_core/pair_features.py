"""The features that a replay loss can take, by the names of its parameters.

M replayed images of the batch and their texts, N replayed images in all, P texts of the vocabulary, D features.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from gift_core.errors import UserError

OF_ALL_PAIRS = ("vocabulary_text_PD", "all_image_ND", "image_ids_M")  # where all replayed pairs are known
FEATURES = (
    "student_image_MD", "student_text_MD", "teacher_image_MD", "teacher_text_MD", "prompt_ids_M", "scale", *OF_ALL_PAIRS
)  # fmt: skip


def taken_by(loss: Callable[..., torch.Tensor]) -> list[str]:
    """Returns the features that a loss takes: those of FEATURES that its parameters are named after."""
    return [name for name in inspect.signature(loss).parameters if name in FEATURES]


@dataclass(frozen=True)
class PairFeatures:
    """Unit features of M replayed images and their texts, by the student and by the teacher.

    The student's encoders run when their features are first read, so that a loss only pays for the features it uses.
    Only the student's features carry gradients. `prompt_ids_M` (int64) is equal for two pairs exactly when their
    prompts are the same text.

    Where all replayed pairs are known (see gift_core.replay.pairs), `vocabulary_text_PD` and `all_image_ND` are the
    teacher's features of every text of the vocabulary and of every replayed image. The row of pair i is
    `prompt_ids_M[i]` in the first and `image_ids_M[i]` in the second.
    """

    encode_images: Callable[[], torch.Tensor]
    encode_texts: Callable[[], torch.Tensor]
    teacher_image_MD: torch.Tensor
    teacher_text_MD: torch.Tensor
    prompt_ids_M: torch.Tensor
    scale: torch.Tensor
    vocabulary_text_PD: torch.Tensor | None = None
    all_image_ND: torch.Tensor | None = None
    image_ids_M: torch.Tensor | None = None

    @cached_property
    def student_image_MD(self) -> torch.Tensor:
        """The student's features of the images, with gradients."""
        return self.encode_images()

    @cached_property
    def student_text_MD(self) -> torch.Tensor:
        """The student's features of the texts, with gradients."""
        return self.encode_texts()

    def evaluate(self, loss: Callable[..., torch.Tensor]) -> torch.Tensor:
        """Returns the value of `loss`, which gets the features that its parameters are named after (FEATURES).

        UserError for a loss that takes features of all pairs, where the replay does not know them.
        """
        features = {name: getattr(self, name) for name in taken_by(loss)}
        missing = [name for name, value in features.items() if value is None]
        if missing:
            raise UserError(
                f"a loss takes {missing[0]}, which this replay does not have: it knows the pairs of one batch only. "
                "Replay pairs that are all known (synthetic, reference, or a sequence in the library), or use distill."
            )
        return loss(**features)
