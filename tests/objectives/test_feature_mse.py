"""Distillation of features, against numbers computed by hand."""

from __future__ import annotations

import pytest
import torch

from gift_core.losses import distill_features
from tests.pair_features import pair_features


def encodings(image: torch.Tensor, text: torch.Tensor, teacher: tuple[torch.Tensor, torch.Tensor]) -> pair_features:
    return pair_features(image, text, *teacher, torch.arange(len(text)), torch.tensor(100.0))


def test_it_is_the_mean_squared_error_of_the_images_plus_that_of_the_texts() -> None:
    # images: squares 0.36, 0.04, 0, 0 over 2 * 2 numbers = 0.1; texts: 4 * 1 over 4 = 1. The temperature has no part
    images = torch.tensor([[0.6, 0.8], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    loss = distill_features()(encodings(images[0], texts[0], (images[1], texts[1])))
    assert loss.item() == pytest.approx(0.1 + 1.0, abs=1e-6)


def test_images_and_texts_have_a_mean_each() -> None:
    # one image and three texts, every one opposite to the teacher's: 4 / D for each tower, however many rows
    axis = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    loss = distill_features()(encodings(axis, axis.repeat(3, 1), (-axis, -axis.repeat(3, 1))))
    assert loss.item() == pytest.approx(8 / 4)


def test_it_is_zero_where_the_features_are_the_teachers() -> None:
    axes = torch.eye(3)
    assert distill_features()(encodings(axes, axes, (axes, axes))).item() == 0


def test_the_student_is_pulled_and_the_teacher_is_not() -> None:
    rows = [torch.eye(2).requires_grad_() for _ in range(2)]
    teacher = [torch.eye(2).flip(0).requires_grad_() for _ in range(2)]
    distill_features()(encodings(rows[0], rows[1], (teacher[0], teacher[1]))).backward()
    # gradient of a mean over 4 numbers: 2 * difference / 4
    for own, other in zip(rows, teacher, strict=True):
        torch.testing.assert_close(own.grad, (own - other).detach() / 2)
        assert other.grad is None
