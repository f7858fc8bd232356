"""The losses of fine-tuning with replay, as functions of unit features that any training loop can call.

Shape suffixes: B task images, K classes, M replayed images of the batch, N replayed images in all, P texts of the
vocabulary, U distinct texts of the batch, V its distinct images, D features, R rows, C columns. Texts that are paired
with the images have M rows, too. Unpaired texts (gift_core.method.replay.unpaired) may be another number.

`scale` is s, the factor that multiplies cosines: exp(logit_scale) of the student, for both models. S = s *
student_image_MD @ student_text_MD.T has one row per image and one column per text. Z is the teacher's S. All features
have length 1. A loss is a scalar in nats unless its docstring says otherwise. The teacher's
features are data, computed without gradients.

A loss says by the names of its parameters which features it takes (gift_core.method.pair_features). Its other
parameters are options. The defaults are the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from gift_core.errors import UserError

Loss = Callable[..., torch.Tensor]
SCALE = 100.0  # of OpenAI's CLIP models, and the largest that CLIP's training allows (Radford et al. 2021, section 2.5)
TEMPERATURE = 2.0  # GIFT, section 3.2
# What is wrong with a loss that trains nothing.
NO_GRADIENT = "its value has no gradient to the student's features. Take one, and leave out detach, item and no_grad."
LABEL_SMOOTHING = 0.2  # of the task loss and of align, as in GIFT


def task_loss(
    image_BD: torch.Tensor,
    class_KD: torch.Tensor,
    *,
    labels_B: torch.Tensor,
    scale: float | torch.Tensor = SCALE,
    label_smoothing: float = LABEL_SMOOTHING,
) -> torch.Tensor:
    """Returns the cross-entropy of the scaled cosines between images and class prompts (GIFT, section 3.1).

    Args:
        image_BD: unit features of the task's images.
        class_KD: unit features of the K class prompts.
        labels_B: the number of each image's class, int64, 0 to K - 1.
        scale: exp(logit_scale) of the model.
        label_smoothing: share of the target mass that is spread over all classes, 0 to 1.
    """
    return functional.cross_entropy(similarities(image_BD, class_KD, scale), labels_B, label_smoothing=label_smoothing)


def pair_loss(
    image_BD: torch.Tensor,
    text_BD: torch.Tensor,
    *,
    targets_BB: torch.Tensor,
    scale: float | torch.Tensor = SCALE,
    label_smoothing: float = LABEL_SMOOTHING,
) -> torch.Tensor:
    """Returns CLIP's symmetric contrastive loss (Radford et al. 2021, section 2.3), with label smoothing.

    Row i of `targets_BB` spreads the mass 1 over the pairs with i's image or text: the identity if all differ.
    """
    scaled_BB = similarities(image_BD, text_BD, scale)
    by_image = functional.cross_entropy(scaled_BB, targets_BB, label_smoothing=label_smoothing)
    by_text = functional.cross_entropy(scaled_BB.T, targets_BB, label_smoothing=label_smoothing)
    return (by_image + by_text) / 2


def distill(
    student_image_MD: torch.Tensor,
    student_text_MD: torch.Tensor,
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    scale: float | torch.Tensor = SCALE,
) -> torch.Tensor:
    """Contrastive distillation: CE(S / T, softmax(Z / T)) * T^2 over the rows, plus the same over the columns.

    It is not 0 where student and teacher agree: there it equals `distill_entropy`, and its gradient is 0. Source: GIFT,
    section 3.2.

    Args:
        student_image_MD: the student's unit features of the images, with gradients.
        student_text_MD: the student's unit features of their texts, with gradients.
        teacher_image_MD: the teacher's unit features of the same images.
        teacher_text_MD: the teacher's unit features of the same texts. Its D may differ from the student's.
        temperature: T, which softens both distributions.
        scale: exp(logit_scale) of the student.

    Raises:
        UserError: for features that do not belong together by their shapes.
    """
    student_MM = similarities(student_image_MD, student_text_MD, scale)
    teacher_MM = similarities(teacher_image_MD, teacher_text_MD, scale)
    return distill_both_directions(student_MM, teacher_MM, temperature=temperature)


def distill_image_side(
    student_image_MD: torch.Tensor,
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    scale: float | torch.Tensor = SCALE,
) -> torch.Tensor:
    """`distill` with the teacher's texts in S: only the image tower gets gradients. The text tower does not run.

    Student and teacher need features of one size. This is the distillation of LwF and ZSCL (ZSCL, section 3.2).
    """
    features = student_image_MD, teacher_text_MD, teacher_image_MD, teacher_text_MD
    return distill(*features, temperature=temperature, scale=scale)


def distill_text_side(
    student_text_MD: torch.Tensor,
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    scale: float | torch.Tensor = SCALE,
) -> torch.Tensor:
    """`distill` with the teacher's images in S: only the text tower gets gradients. The image tower does not run.

    Student and teacher need features of one size. An ablation of GIFT.
    """
    features = teacher_image_MD, student_text_MD, teacher_image_MD, teacher_text_MD
    return distill(*features, temperature=temperature, scale=scale)


def distill_vocabulary(
    student_image_MD: torch.Tensor,
    student_text_MD: torch.Tensor,
    vocabulary_text_PD: torch.Tensor,
    all_image_ND: torch.Tensor,
    prompt_ids_M: torch.Tensor,
    image_ids_M: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    scale: float | torch.Tensor = SCALE,
) -> torch.Tensor:
    """Distillation of each image against the whole vocabulary, and of each distinct text against all replayed images.

    CE(S / T, softmax(Z / T)) * T^2 over the rows of image similarities [M, P], plus the same over the rows of text
    similarities [U, N]. The columns are the teacher's features in S, too, so each tower stays in the space of the
    teacher's other tower, and nothing more is encoded. Memory and time grow with M * P + U * N. Where vocabulary and
    replayed images are those of the batch, these are the rows of `distill_image_side` and the columns of
    `distill_text_side`. Not of the paper: docs/methods.md says why.

    `vocabulary_text_PD` and `all_image_ND` are the teacher's unit features of all texts and of all replayed images.
    `prompt_ids_M` and `image_ids_M` (int64) are the rows of each pair's text and image in them. Student and teacher
    need features of one size: UserError.
    """
    require_same_shape(student_image_MD, student_text_MD, "images and texts, which are pairs")
    first = _first_rows(prompt_ids_M)
    by_image = soft_cross_entropy(
        similarities(student_image_MD, vocabulary_text_PD, scale),
        similarities(all_image_ND[image_ids_M], vocabulary_text_PD, scale),
        temperature=temperature,
    )
    by_text = soft_cross_entropy(
        similarities(student_text_MD[first], all_image_ND, scale),
        similarities(vocabulary_text_PD[prompt_ids_M[first]], all_image_ND, scale),
        temperature=temperature,
    )
    return by_image + by_text


def distill_reverse_kl(
    student_image_MD: torch.Tensor,
    student_text_MD: torch.Tensor,
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    scale: float | torch.Tensor = SCALE,
) -> torch.Tensor:
    """KL(student || teacher) * T^2 over the rows, plus the same over the columns; 0 where both agree.

    The arguments are those of `distill`. Source: GIFT, section 4.3.
    """
    student_MM = similarities(student_image_MD, student_text_MD, scale)
    teacher_MM = similarities(teacher_image_MD, teacher_text_MD, scale)
    by_image = reverse_kl(student_MM, teacher_MM, temperature=temperature)
    by_text = reverse_kl(student_MM.T, teacher_MM.T, temperature=temperature)
    return by_image + by_text


def distill_features(
    student_image_MD: torch.Tensor,
    student_text_MD: torch.Tensor,
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error between the student's and the teacher's features, of the images plus of the texts.

    The mean is over rows and features, so the loss lies between 0 and 8 / D. It has no unit. An ablation of GIFT.
    """
    require_same_shape(student_image_MD, teacher_image_MD, "image features")
    require_same_shape(student_text_MD, teacher_text_MD, "text features")
    images = functional.mse_loss(student_image_MD, teacher_image_MD.detach())
    texts = functional.mse_loss(student_text_MD, teacher_text_MD.detach())
    return images + texts


def align(
    student_image_MD: torch.Tensor,
    student_text_MD: torch.Tensor,
    prompt_ids_M: torch.Tensor | None = None,
    *,
    label_smoothing: float = LABEL_SMOOTHING,
    scale: float | torch.Tensor = SCALE,
) -> torch.Tensor:
    """Image-text alignment: cross-entropy of S against the pairing itself, over the rows plus over the columns.

    Pairs with the same prompt share the probability mass equally (GIFT, section 3.2, where its weight is 0.25).

    Args:
        student_image_MD: the student's unit features of the images.
        student_text_MD: the student's unit features of their texts, row by row.
        prompt_ids_M: int64, equal for two pairs exactly when their prompts are the same text. None: all differ.
        label_smoothing: share of the target mass that is spread over all pairs, 0 to 1.
        scale: exp(logit_scale) of the student.
    """
    require_same_shape(student_image_MD, student_text_MD, "images and texts, which are pairs")
    student_MM = similarities(student_image_MD, student_text_MD, scale)
    if prompt_ids_M is None:
        prompt_ids_M = torch.arange(len(student_MM), device=student_MM.device)
    targets_MM = shared_prompt_targets(prompt_ids_M)
    by_image = functional.cross_entropy(student_MM, targets_MM, label_smoothing=label_smoothing)
    by_text = functional.cross_entropy(student_MM.T, targets_MM, label_smoothing=label_smoothing)
    return by_image + by_text


# By their names in params.yaml (methods.*.losses); their options are in gift_core.config.method_options.
LOSSES: Mapping[str, Loss] = {
    "distill": distill,
    "distill_vocabulary": distill_vocabulary,
    "distill_reverse_kl": distill_reverse_kl,
    "distill_features": distill_features,
    "distill_image_side": distill_image_side,
    "distill_text_side": distill_text_side,
    "align": align,
}


def similarities(image_MD: torch.Tensor, text_MD: torch.Tensor, scale: float | torch.Tensor) -> torch.Tensor:
    """Returns scale * cosines: one row per row of the first. UserError for features of two sizes."""
    shapes = tuple(image_MD.shape), tuple(text_MD.shape)
    if {len(shape) for shape in shapes} != {2} or shapes[0][1] != shapes[1][1]:
        raise UserError(
            f"features of images {list(shapes[0])} and of texts {list(shapes[1])}: expected [M, D] and [M, D] with one "
            "D. Pass one row for each image and each text, both encoded by the same model."
        )
    return scale * image_MD @ text_MD.T


def require_same_shape(one: torch.Tensor, other: torch.Tensor, what: str) -> None:
    """Raises UserError, which begins with `what`, where the shapes differ."""
    if one.shape != other.shape:
        raise UserError(
            f"{what}: shapes {list(one.shape)} and {list(other.shape)} should be equal. Encode the same images and "
            "texts, in the same order."
        )


def value_fault(value: Any) -> str | None:
    """Returns why the value of a loss is not one number, and what to do. None: it is one."""
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        return None
    shown = f"a {type(value).__name__}"
    remedy = "Return a tensor with its gradient, without .item() or float()"
    if value is None:
        shown, remedy = "nothing", "Add a `return`"
    elif isinstance(value, torch.Tensor):
        shown, remedy = f"a tensor {[*value.shape]}", "Return its mean: value.mean()"
    return f"it returns {shown}, expected one number. {remedy}."


def distill_both_directions(student_MM: torch.Tensor, teacher_MM: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Returns the soft cross-entropy over the rows plus the one over the columns."""
    by_image = soft_cross_entropy(student_MM, teacher_MM, temperature=temperature)
    by_text = soft_cross_entropy(student_MM.T, teacher_MM.T, temperature=temperature)
    return by_image + by_text


def soft_cross_entropy(student_RC: torch.Tensor, teacher_RC: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Returns the mean over the R rows of CE(student / T, softmax(teacher / T)), times T^2."""
    require_same_shape(student_RC, teacher_RC, "similarities by student and teacher")
    targets_RC = (teacher_RC.detach() / temperature).softmax(dim=1)
    return functional.cross_entropy(student_RC / temperature, targets_RC) * temperature**2


def reverse_kl(student_RC: torch.Tensor, teacher_RC: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Returns the mean over the R rows of KL(softmax(student / T) || softmax(teacher / T)), times T^2."""
    require_same_shape(student_RC, teacher_RC, "similarities by student and teacher")
    student_log_RC = (student_RC / temperature).log_softmax(dim=1)
    teacher_log_RC = (teacher_RC.detach() / temperature).log_softmax(dim=1)
    return (student_log_RC.exp() * (student_log_RC - teacher_log_RC)).sum(dim=1).mean() * temperature**2


def shared_prompt_targets(prompt_ids_M: torch.Tensor) -> torch.Tensor:
    """Returns the targets of `align` [M, M]: row i spreads the mass 1 equally over the pairs with i's prompt."""
    same_MM = (prompt_ids_M[:, None] == prompt_ids_M[None, :]).float()
    return same_MM / same_MM.sum(dim=1, keepdim=True)


def _first_rows(ids_M: torch.Tensor) -> torch.Tensor:
    """The first row of each distinct id: a pair with the id of an earlier row is left out."""
    same_MM = ids_M[:, None] == ids_M[None, :]
    return (~same_MM.tril(-1).any(dim=1)).nonzero().flatten()
