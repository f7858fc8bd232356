"""The reverse divergence, against numbers computed by hand and torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from gift_core.losses import distill_reverse_kl, reverse_kl, student_logits, teacher_logits
from tests.pair_features import pair_features


def unit_rows(count: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1)


def encodings() -> pair_features:
    rows = [unit_rows(4, seed) for seed in range(4)]
    return pair_features(*rows, torch.arange(4), torch.tensor(5.0))


def divergence(p: float, q: float) -> float:
    """KL((p, 1 - p) || (q, 1 - q)) in nats."""
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_it_is_the_divergence_of_the_student_from_the_teacher() -> None:
    # T = 2: logits (2, 0) and (6, 0) become (1, 0) and (3, 0)
    student, teacher = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))
    loss = reverse_kl(torch.tensor([[2.0, 0.0]]), torch.tensor([[6.0, 0.0]]), temperature=2.0)
    assert loss.item() == pytest.approx(4 * divergence(student, teacher), abs=1e-6)
    assert abs(divergence(student, teacher) - divergence(teacher, student)) > 0.05  # the other way round is another


def test_the_mean_is_taken_over_the_rows() -> None:
    # the second row agrees, so it halves the loss of the first
    one = reverse_kl(torch.tensor([[2.0, 0.0]]), torch.tensor([[6.0, 0.0]]), temperature=2.0)
    two = reverse_kl(torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([[6.0, 0.0], [1.0, 3.0]]), temperature=2.0)
    assert two.item() == pytest.approx(one.item() / 2, abs=1e-6)


def test_both_directions_are_torchs_own_divergence() -> None:
    given = encodings()
    student_MM, teacher_MM = student_logits(given) / 2, teacher_logits(given) / 2
    # functional.kl_div(input, target) is KL(target || input)
    rows, columns = (
        functional.kl_div(
            teacher.log_softmax(dim=1), student.log_softmax(dim=1), reduction="batchmean", log_target=True
        )
        for student, teacher in ((student_MM, teacher_MM), (student_MM.T, teacher_MM.T))
    )
    assert abs(rows.item() - columns.item()) > 1e-2
    assert distill_reverse_kl(2.0)(given).item() == pytest.approx(4 * (rows + columns).item(), abs=1e-5)


def test_it_is_zero_and_flat_where_student_and_teacher_agree() -> None:
    student_RC = torch.tensor([[2.0, 0.0], [1.0, 3.0]], requires_grad=True)
    # what is added to a whole row changes no share
    loss = reverse_kl(student_RC, student_RC.detach() + 1.0, temperature=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(student_RC.grad, torch.zeros(2, 2), rtol=0, atol=1e-6)


def test_the_teacher_receives_no_gradient() -> None:
    student_RC, teacher_RC = (torch.tensor([[1.0, row]], requires_grad=True) for row in (2.0, 5.0))
    reverse_kl(student_RC, teacher_RC, temperature=2.0).backward()
    assert teacher_RC.grad is None
    assert student_RC.grad is not None and student_RC.grad.abs().max() > 1e-2
