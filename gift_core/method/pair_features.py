"""A batch of replayed images and texts, and the features of it that a loss can take, by the names of its parameters.

M images of the batch and their texts, N replayed images in all, P texts of the vocabulary, L tokens, C channels,
H W pixels, D features.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from gift_core.config.own_code import FEATURES, OF_STUDENT
from gift_core.errors import UserError


def taken_by(loss: Callable[..., torch.Tensor]) -> list[str]:
    """Returns the features that a loss takes: those of FEATURES that its parameters are named after."""
    return [name for name in inspect.signature(loss).parameters if name in FEATURES]


def sides_of(loss: Callable[..., torch.Tensor]) -> set[str]:
    """Returns the towers whose features a loss takes of the student: "image", "text" or both."""
    return {name.split("_")[1] for name in taken_by(loss) if name.startswith("student_")}


@dataclass(frozen=True)
class ReplayBatch:
    """M pairs: normalized images, token rows, prompt ids (int64), and the teacher's unit features.

    Images outside the Share of this process are zeros. Two prompt ids are equal exactly where the prompts are the same
    text. In unpaired replay the tokens, prompt ids and text features have one row per text instead.

    Where all replayed pairs are known, `vocabulary_text_PD` and `all_image_ND` are the teacher's features of every text
    of the vocabulary and of every replayed image. Prompt and image ids are their rows.
    """

    images_MCHW: torch.Tensor
    tokens_ML: torch.Tensor
    prompt_ids_M: torch.Tensor
    teacher_image_MD: torch.Tensor
    teacher_text_MD: torch.Tensor
    vocabulary_text_PD: torch.Tensor | None = None
    all_image_ND: torch.Tensor | None = None
    image_ids_M: torch.Tensor | None = None


@dataclass(frozen=True)
class PairFeatures:
    """What losses can take of a batch: the teacher's features, and those of the student, which carry gradients.

    The student's encoders run when their features are first read, so that a loss only pays for the features it uses.
    """

    batch: ReplayBatch
    encode_images: Callable[[torch.Tensor], torch.Tensor]
    encode_tokens: Callable[[torch.Tensor], torch.Tensor]
    scale: torch.Tensor

    @cached_property
    def student_image_MD(self) -> torch.Tensor:
        """The student's features of the images, with gradients."""
        return self.encode_images(self.batch.images_MCHW)

    @cached_property
    def student_text_MD(self) -> torch.Tensor:
        """The student's features of the texts, with gradients."""
        return self.encode_tokens(self.batch.tokens_ML)

    def evaluate(self, loss: Callable[..., torch.Tensor]) -> torch.Tensor:
        """Returns the value of `loss`, which gets the features that its parameters are named after (FEATURES).

        UserError for a loss that takes features of all pairs, where the replay does not know them.
        """
        features = {name: getattr(self if name in OF_STUDENT else self.batch, name) for name in taken_by(loss)}
        missing = [name for name, value in features.items() if value is None]
        if missing:
            raise UserError(
                f"a loss takes {missing[0]}, which this replay does not have: it knows the pairs of one batch only. "
                "Replay pairs that are all known (synthetic, reference, or a sequence in the library), or use distill."
            )
        return loss(**features)
