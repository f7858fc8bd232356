"""The losses of fine-tuning with replay, as functions of unit features.

Shape suffixes: B task images, K classes, M replayed pairs, D features, R rows, C columns. `scale` is s, the temperature
that multiplies cosines: S = s * student_image_MD @ student_text_MD.T, and Z is the teacher's S. A loss is a scalar in
nats unless its docstring says otherwise. No gradient reaches the teacher.

Where the replayed images and texts are not paired (gift_core.replay.unpaired), there may be another number of texts
than of images, and S is [images, texts].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional


@dataclass(frozen=True)
class PairFeatures:
    """Unit features of M replayed images and their texts, by the student and by the teacher.

    The student's encoders run when their features are first read, so that a loss only pays for the features it uses.
    Only the student's features carry gradients. `prompt_ids_M` (int64) is equal for two pairs exactly when their
    prompts are the same text.
    """

    encode_images: Callable[[], torch.Tensor]
    encode_texts: Callable[[], torch.Tensor]
    teacher_image_MD: torch.Tensor
    teacher_text_MD: torch.Tensor
    prompt_ids_M: torch.Tensor
    scale: torch.Tensor

    @cached_property
    def student_image_MD(self) -> torch.Tensor:
        """The student's features of the images, with gradients."""
        return self.encode_images()

    @cached_property
    def student_text_MD(self) -> torch.Tensor:
        """The student's features of the texts, with gradients."""
        return self.encode_texts()


def task_loss(
    image_BD: torch.Tensor,
    class_KD: torch.Tensor,
    *,
    labels_B: torch.Tensor,
    scale: torch.Tensor,
    label_smoothing: float,
) -> torch.Tensor:
    """Cross-entropy of the scaled cosines between images and class prompts (GIFT, section 3.1)."""
    return functional.cross_entropy(scale * image_BD @ class_KD.T, labels_B, label_smoothing=label_smoothing)


def distill(features: PairFeatures, *, temperature: float) -> torch.Tensor:
    """Contrastive distillation: CE(S / T, softmax(Z / T)) * T^2 over the rows, plus the same over the columns.

    GIFT, section 3.2.
    """
    return distill_both_directions(student_logits(features), teacher_logits(features), temperature=temperature)


def distill_image_side(features: PairFeatures, *, temperature: float) -> torch.Tensor:
    """`distill` with the teacher's texts in S: only the image tower gets gradients. The text tower does not run.

    This is the distillation of LwF and ZSCL (ZSCL, section 3.2).
    """
    student_MM = features.scale * features.student_image_MD @ features.teacher_text_MD.T
    return distill_both_directions(student_MM, teacher_logits(features), temperature=temperature)


def distill_text_side(features: PairFeatures, *, temperature: float) -> torch.Tensor:
    """`distill` with the teacher's images in S: only the text tower gets gradients. The image tower does not run."""
    student_MM = features.scale * features.teacher_image_MD @ features.student_text_MD.T
    return distill_both_directions(student_MM, teacher_logits(features), temperature=temperature)


def distill_reverse_kl(features: PairFeatures, *, temperature: float) -> torch.Tensor:
    """KL(student || teacher) * T^2 over the rows, plus the same over the columns; 0 where both agree.

    GIFT, section 4.3.
    """
    student_MM, teacher_MM = student_logits(features), teacher_logits(features)
    by_image = reverse_kl(student_MM, teacher_MM, temperature=temperature)
    by_text = reverse_kl(student_MM.T, teacher_MM.T, temperature=temperature)
    return by_image + by_text


def distill_features(features: PairFeatures) -> torch.Tensor:
    """Mean squared error between the student's and the teacher's features, of the images plus of the texts.

    The mean is over rows and features, so the loss lies between 0 and 8 / D. It has no unit.
    """
    images = functional.mse_loss(features.student_image_MD, features.teacher_image_MD.detach())
    texts = functional.mse_loss(features.student_text_MD, features.teacher_text_MD.detach())
    return images + texts


def align(features: PairFeatures, *, label_smoothing: float) -> torch.Tensor:
    """Image-text alignment: cross-entropy of S against the pairing itself, over the rows plus over the columns.

    Pairs with the same prompt share the probability mass equally (GIFT, section 3.2).
    """
    student_MM = student_logits(features)
    targets_MM = shared_prompt_targets(features.prompt_ids_M)
    by_image = functional.cross_entropy(student_MM, targets_MM, label_smoothing=label_smoothing)
    by_text = functional.cross_entropy(student_MM.T, targets_MM, label_smoothing=label_smoothing)
    return by_image + by_text


# By their names in params.yaml (methods.*.losses); their options are in gift_core.config.method_options.
LOSSES: Mapping[str, Callable[..., torch.Tensor]] = {
    "distill": distill,
    "distill_reverse_kl": distill_reverse_kl,
    "distill_features": distill_features,
    "distill_image_side": distill_image_side,
    "distill_text_side": distill_text_side,
    "align": align,
}


def student_logits(features: PairFeatures) -> torch.Tensor:
    """Returns S [M, M]: rows are images, columns are texts."""
    return features.scale * features.student_image_MD @ features.student_text_MD.T


def teacher_logits(features: PairFeatures) -> torch.Tensor:
    """Returns Z [M, M], the teacher's S."""
    return features.scale * features.teacher_image_MD @ features.teacher_text_MD.T


def distill_both_directions(student_MM: torch.Tensor, teacher_MM: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Returns the soft cross-entropy over the rows plus the one over the columns."""
    by_image = soft_cross_entropy(student_MM, teacher_MM, temperature=temperature)
    by_text = soft_cross_entropy(student_MM.T, teacher_MM.T, temperature=temperature)
    return by_image + by_text


def soft_cross_entropy(student_RC: torch.Tensor, teacher_RC: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Returns the mean over the R rows of CE(student / T, softmax(teacher / T)), times T^2."""
    targets_RC = (teacher_RC.detach() / temperature).softmax(dim=1)
    return functional.cross_entropy(student_RC / temperature, targets_RC) * temperature**2


def reverse_kl(student_RC: torch.Tensor, teacher_RC: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Returns the mean over the R rows of KL(softmax(student / T) || softmax(teacher / T)), times T^2."""
    student_log_RC = (student_RC / temperature).log_softmax(dim=1)
    teacher_log_RC = (teacher_RC.detach() / temperature).log_softmax(dim=1)
    return (student_log_RC.exp() * (student_log_RC - teacher_log_RC)).sum(dim=1).mean() * temperature**2


def shared_prompt_targets(prompt_ids_M: torch.Tensor) -> torch.Tensor:
    """Returns the targets of `align` [M, M]: row i spreads the mass 1 equally over the pairs with i's prompt."""
    same_MM = (prompt_ids_M[:, None] == prompt_ids_M[None, :]).float()
    return same_MM / same_MM.sum(dim=1, keepdim=True)
