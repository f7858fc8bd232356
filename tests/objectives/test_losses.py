"""Each loss term against numbers computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from gift_core.losses import align, distill, shared_prompt_targets, soft_cross_entropy, task_loss
from tests.pair_features import pair_features


def encodings(
    *, student_text_MD: torch.Tensor, prompt_ids: tuple[int, ...] = (0, 1), scale: float = 2.0
) -> pair_features:
    """Two pairs; the student's and the teacher's images are the axes, the teacher's texts too."""
    axes_MD = torch.eye(2)
    return pair_features(
        student_image_MD=axes_MD,
        student_text_MD=student_text_MD,
        teacher_image_MD=axes_MD,
        teacher_text_MD=axes_MD,
        prompt_ids_M=torch.tensor(prompt_ids),
        scale=torch.tensor(scale),
    )


def test_task_loss_without_smoothing() -> None:
    # logits 3 * (1, 0) and 3 * (0.6, 0.8); labels 0 and 1
    image_BD, class_KD = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2)
    loss = task_loss(image_BD, class_KD, labels_B=torch.tensor([0, 1]), scale=torch.tensor(3.0), label_smoothing=0.0)
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-3)) + math.log(1 + math.exp(-0.6))) / 2, abs=1e-6)


def test_task_loss_smooths_the_labels() -> None:
    # one image, logits (2, 0), label 0, smoothing 0.2: 0.9 of the mass on class 0, 0.1 on class 1
    loss = task_loss(
        torch.tensor([[1.0, 0.0]]),
        torch.eye(2),
        labels_B=torch.tensor([0]),
        scale=torch.tensor(2.0),
        label_smoothing=0.2,
    )
    first, second = -math.log(1 / (1 + math.exp(-2))), -math.log(math.exp(-2) / (1 + math.exp(-2)))
    assert loss.item() == pytest.approx(0.9 * first + 0.1 * second, abs=1e-6)


def test_soft_cross_entropy_is_scaled_by_the_squared_temperature() -> None:
    # T = 2: student logits (2, 0) -> (1, 0), teacher's (4, 0) -> (2, 0)
    loss = soft_cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([[4.0, 0.0]]), temperature=2.0)
    target = 1 / (1 + math.exp(-2))
    student = 1 / (1 + math.exp(-1))
    expected = -(target * math.log(student) + (1 - target) * math.log(1 - student)) * 4
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_distillation_sums_both_directions() -> None:
    # the student swapped one text: S = 2 * [[1, 0.6], [0, 0.8]], Z = 2 * [[1, 0], [0, 1]]
    student_MM, teacher_MM = torch.tensor([[2.0, 1.2], [0.0, 1.6]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    given = encodings(student_text_MD=torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    rows = soft_cross_entropy(student_MM, teacher_MM, temperature=2.0)
    columns = soft_cross_entropy(student_MM.T, teacher_MM.T, temperature=2.0)
    assert rows.item() != pytest.approx(columns.item(), abs=1e-3)
    assert distill(2.0)(given).item() == pytest.approx((rows + columns).item(), abs=1e-6)


def test_distillation_is_least_and_flat_where_the_student_equals_the_teacher() -> None:
    text_MD = torch.eye(2).requires_grad_()
    loss = distill(2.0)(encodings(student_text_MD=text_MD))
    loss.backward()
    # twice the entropy of (1, 0) / T = softmax(1, 0), times T^2
    share = 1 / (1 + math.exp(-1))
    entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    assert loss.item() == pytest.approx(2 * 4 * entropy, abs=1e-6)
    torch.testing.assert_close(text_MD.grad, torch.zeros(2, 2), rtol=0, atol=1e-6)


def test_teacher_receives_no_gradient() -> None:
    teacher_RC = torch.tensor([[1.0, 2.0]], requires_grad=True)
    student_RC = torch.tensor([[2.0, 1.0]], requires_grad=True)
    soft_cross_entropy(student_RC, teacher_RC, temperature=2.0).backward()
    assert teacher_RC.grad is None and student_RC.grad is not None


def test_pairs_of_the_same_prompt_share_the_mass() -> None:
    expected = [[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]]
    assert shared_prompt_targets(torch.tensor([7, 3, 7, 9])).tolist() == expected


def test_alignment_sums_both_directions_of_smoothed_cross_entropy() -> None:
    # S = [[2, 1.2], [0, 1.6]], targets = identity smoothed by 0.2: 0.9 and 0.1
    given = encodings(student_text_MD=torch.tensor([[1.0, 0.0], [0.6, 0.8]]))

    def cross_entropy(own: float, other: float) -> float:
        total = math.log(math.exp(own) + math.exp(other))
        return 0.9 * (total - own) + 0.1 * (total - other)

    rows = (cross_entropy(2.0, 1.2) + cross_entropy(1.6, 0.0)) / 2
    columns = (cross_entropy(2.0, 0.0) + cross_entropy(1.6, 1.2)) / 2
    assert align(0.2)(given).item() == pytest.approx(rows + columns, abs=1e-6)


def test_alignment_asks_for_equal_shares_of_two_images_of_one_prompt() -> None:
    given = encodings(student_text_MD=torch.tensor([[1.0, 0.0], [1.0, 0.0]]), prompt_ids=(5, 5), scale=0.0)
    assert align(0.2)(given).item() == pytest.approx(2 * math.log(2), abs=1e-6)
