"""Distillation of one tower, against numbers computed by hand; the other tower is left alone."""

from __future__ import annotations

import math

import pytest
import torch

from gift_core.losses import distill_image_side, distill_text_side
from tests.pair_features import pair_features

SIDES = {"image": distill_image_side(2.0), "text": distill_text_side(2.0)}
AXES = torch.eye(2)
TILTED = torch.tensor([[1.0, 0.0], [0.6, 0.8]])


def encodings(*, image: torch.Tensor = AXES, text: torch.Tensor = AXES, scale: float = 2.0) -> pair_features:
    """A student of these features; the teacher's images are the axes and its texts too."""
    return pair_features(image, text, AXES, AXES, torch.arange(len(text)), torch.tensor(scale))


def cross_entropy(student: list[list[float]], teacher: list[list[float]]) -> float:
    """Mean over the rows of the soft cross-entropy at T = 2, times T^2, in plain numbers."""

    def shares(row: list[float]) -> list[float]:
        powers = [math.exp(value / 2) for value in row]
        return [power / sum(powers) for power in powers]

    rows = [
        -sum(target * math.log(own) for target, own in zip(shares(wanted), shares(given), strict=True))
        for given, wanted in zip(student, teacher, strict=True)
    ]
    return 4 * sum(rows) / len(rows)


def both_ways(student: list[list[float]], teacher: list[list[float]]) -> float:
    columns = [[list(column) for column in zip(*table, strict=True)] for table in (student, teacher)]
    return cross_entropy(student, teacher) + cross_entropy(*columns)


def test_image_side_holds_the_students_images_against_the_teachers_texts() -> None:
    # the student's texts are far off, and do not count: S = 2 * [[1, 0], [0.6, 0.8]], Z = 2 * [[1, 0], [0, 1]]
    expected = both_ways([[2.0, 0.0], [1.2, 1.6]], [[2.0, 0.0], [0.0, 2.0]])
    loss = SIDES["image"](encodings(image=TILTED, text=-AXES))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_text_side_holds_the_teachers_images_against_the_students_texts() -> None:
    # S = 2 * [[1, 0.6], [0, 0.8]]: rows are images, so a tilted text tilts a column
    expected = both_ways([[2.0, 1.2], [0.0, 1.6]], [[2.0, 0.0], [0.0, 2.0]])
    loss = SIDES["text"](encodings(image=-AXES, text=TILTED))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_rows_and_columns_are_both_summed() -> None:
    student, teacher = [[2.0, 0.0], [1.2, 1.6]], [[2.0, 0.0], [0.0, 2.0]]
    rows, both = cross_entropy(student, teacher), both_ways(student, teacher)
    assert abs(both - rows) > 1 and abs(both - 2 * rows) > 1e-2
    assert SIDES["image"](encodings(image=TILTED)).item() == pytest.approx(both, abs=1e-5)


def test_there_may_be_more_texts_than_images() -> None:
    # two images, three texts: 2 rows of 3 and 3 rows of 2, each with a mean of its own
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    given = pair_features(TILTED, -texts, AXES, texts, torch.arange(3), torch.tensor(2.0))
    expected = both_ways([[2.0, 0.0, 1.2], [1.2, 1.6, 2.0]], [[2.0, 0.0, 1.2], [0.0, 2.0, 1.6]])
    assert SIDES["image"](given).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("side", "pulled"), [("image", 0), ("text", 1)])
def test_only_its_own_tower_is_pulled(side: str, pulled: int) -> None:
    towers = [TILTED.clone().requires_grad_(), TILTED.clone().requires_grad_()]
    teacher = AXES.clone().requires_grad_()
    given = pair_features(towers[0], towers[1], teacher, AXES, torch.arange(2), torch.tensor(2.0))
    SIDES[side](given).backward()
    gradient = towers[pulled].grad
    assert gradient is not None and gradient.abs().max() > 0.1
    assert towers[1 - pulled].grad is None


@pytest.mark.parametrize("side", SIDES)
def test_it_is_least_and_flat_where_its_tower_equals_the_teachers(side: str) -> None:
    own = AXES.clone().requires_grad_()
    given = encodings(image=own, text=-AXES) if side == "image" else encodings(image=-AXES, text=own)
    loss = SIDES[side](given)
    loss.backward()
    # twice the entropy of softmax(1, 0), times T^2
    share = 1 / (1 + math.exp(-1))
    entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    assert loss.item() == pytest.approx(2 * 4 * entropy, abs=1e-5)
    torch.testing.assert_close(own.grad, torch.zeros(2, 2), rtol=0, atol=1e-6)
