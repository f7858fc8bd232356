"""Each loss against numbers computed by hand, and which features it uses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from gift_core.artifacts.model_folder import ENTROPY
from gift_core.errors import UserError
from gift_core.losses import (
    ENTROPIES,
    LOSSES,
    align,
    distill,
    distill_entropy,
    distill_features,
    distill_image_side,
    distill_reverse_kl,
    distill_text_side,
    reverse_kl,
    shared_prompt_targets,
    similarities,
    soft_cross_entropy,
    task_loss,
)
from gift_core.pair_features import PairFeatures, ReplayBatch
from tests.pair_features import LOSS_OPTIONS, loss_of, pair_features

Table = list[list[float]]
AXES = torch.eye(2)
TILTED = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
SIDES: dict[str, Callable[..., torch.Tensor]] = {"image": distill_image_side, "text": distill_text_side}


def two_pairs(
    *,
    image: torch.Tensor = AXES,
    text: torch.Tensor = AXES,
    teacher: tuple[torch.Tensor, torch.Tensor] = (AXES, AXES),
    prompt_ids: tuple[int, ...] = (0, 1),
    scale: float = 2.0,
) -> PairFeatures:
    """A student with these features; the teacher's images and texts are the axes."""
    return pair_features(image, text, *teacher, torch.tensor(prompt_ids), torch.tensor(scale))


def logits_of(features: PairFeatures) -> tuple[torch.Tensor, torch.Tensor]:
    """S and Z."""
    student = similarities(features.student_image_MD, features.student_text_MD, features.scale)
    return student, similarities(features.batch.teacher_image_MD, features.batch.teacher_text_MD, features.scale)


def entropy_of_axes() -> float:
    """Distillation where student and teacher are equal: twice the entropy of softmax(1, 0), times T^2."""
    share = 1 / (1 + math.exp(-1))
    return -2 * 4 * (share * math.log(share) + (1 - share) * math.log(1 - share))


def test_task_loss_without_smoothing() -> None:
    # logits 3 * (1, 0) and 3 * (0.6, 0.8); labels 0 and 1
    loss = task_loss(TILTED, AXES, labels_B=torch.tensor([0, 1]), scale=torch.tensor(3.0), label_smoothing=0.0)
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-3)) + math.log(1 + math.exp(-0.6))) / 2, abs=1e-6)


def test_task_loss_smooths_the_labels() -> None:
    # one image, logits (2, 0), label 0, smoothing 0.2: 0.9 of the mass on class 0, 0.1 on class 1
    loss = task_loss(AXES[:1], AXES, labels_B=torch.tensor([0]), scale=torch.tensor(2.0), label_smoothing=0.2)
    first, second = -math.log(1 / (1 + math.exp(-2))), -math.log(math.exp(-2) / (1 + math.exp(-2)))
    assert loss.item() == pytest.approx(0.9 * first + 0.1 * second, abs=1e-6)


def test_soft_cross_entropy_is_multiplied_by_the_squared_temperature() -> None:
    # T = 2: student logits (2, 0) -> (1, 0), teacher logits (4, 0) -> (2, 0)
    loss = soft_cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([[4.0, 0.0]]), temperature=2.0)
    target, student = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))
    expected = -(target * math.log(student) + (1 - target) * math.log(1 - student)) * 4
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_distillation_sums_both_directions() -> None:
    # S = 2 * [[1, 0.6], [0, 0.8]], Z = 2 * [[1, 0], [0, 1]]
    student_MM, teacher_MM = torch.tensor([[2.0, 1.2], [0.0, 1.6]]), 2 * AXES
    rows = soft_cross_entropy(student_MM, teacher_MM, temperature=2.0)
    columns = soft_cross_entropy(student_MM.T, teacher_MM.T, temperature=2.0)
    assert rows.item() != pytest.approx(columns.item(), abs=1e-3)
    assert loss_of(distill, two_pairs(text=TILTED), temperature=2.0).item() == pytest.approx(
        (rows + columns).item(), abs=1e-6
    )


def test_distillation_has_its_minimum_where_student_and_teacher_are_equal() -> None:
    text_MD = AXES.clone().requires_grad_()
    loss = loss_of(distill, two_pairs(text=text_MD), temperature=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(entropy_of_axes(), abs=1e-6)
    torch.testing.assert_close(text_MD.grad, torch.zeros(2, 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", [soft_cross_entropy, reverse_kl])
def test_the_teacher_gets_no_gradient(function: Callable[..., torch.Tensor]) -> None:
    student_RC = torch.tensor([[2.0, 1.0]], requires_grad=True)
    teacher_RC = torch.tensor([[1.0, 2.0]], requires_grad=True)
    function(student_RC, teacher_RC, temperature=2.0).backward()
    assert student_RC.grad is not None and student_RC.grad.abs().max() > 0
    assert teacher_RC.grad is None


def soft_cross_entropy_of(student: Table, teacher: Table) -> float:
    """The mean over rows at T = 2, times T^2, without torch."""

    def shares(row: list[float]) -> list[float]:
        powers = [math.exp(value / 2) for value in row]
        return [power / sum(powers) for power in powers]

    rows = [
        -sum(target * math.log(own) for target, own in zip(shares(wanted), shares(given), strict=True))
        for given, wanted in zip(student, teacher, strict=True)
    ]
    return 4 * sum(rows) / len(rows)


def both_directions(student: Table, teacher: Table) -> float:
    columns = [[list(column) for column in zip(*table, strict=True)] for table in (student, teacher)]
    return soft_cross_entropy_of(student, teacher) + soft_cross_entropy_of(*columns)


def test_image_side_compares_the_students_images_with_the_teachers_texts() -> None:
    # S = 2 * [[1, 0], [0.6, 0.8]], Z = 2 * [[1, 0], [0, 1]]; the student's texts have no effect
    student, teacher = [[2.0, 0.0], [1.2, 1.6]], [[2.0, 0.0], [0.0, 2.0]]
    rows, both = soft_cross_entropy_of(student, teacher), both_directions(student, teacher)
    assert abs(both - rows) > 1 and abs(both - 2 * rows) > 1e-2  # the directions differ
    loss = loss_of(distill_image_side, two_pairs(image=TILTED, text=-AXES), temperature=2.0)
    assert loss.item() == pytest.approx(both, abs=1e-5)


def test_text_side_compares_the_teachers_images_with_the_students_texts() -> None:
    # S = 2 * [[1, 0.6], [0, 0.8]]: rows are images, so a tilted text changes a column
    expected = both_directions([[2.0, 1.2], [0.0, 1.6]], [[2.0, 0.0], [0.0, 2.0]])
    loss = loss_of(distill_text_side, two_pairs(image=-AXES, text=TILTED), temperature=2.0)
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_there_may_be_more_texts_than_images() -> None:
    # two images, three texts: the mean of 2 rows of 3, plus the mean of 3 rows of 2
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    features = two_pairs(image=TILTED, text=-texts, teacher=(AXES, texts), prompt_ids=(0, 1, 2))
    expected = both_directions([[2.0, 0.0, 1.2], [1.2, 1.6, 2.0]], [[2.0, 0.0, 1.2], [0.0, 2.0, 1.6]])
    assert loss_of(distill_image_side, features, temperature=2.0).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("side", "trained"), [("image", 0), ("text", 1)])
def test_one_sided_distillation_trains_one_tower(side: str, trained: int) -> None:
    towers = [TILTED.clone().requires_grad_(), TILTED.clone().requires_grad_()]
    loss_of(SIDES[side], two_pairs(image=towers[0], text=towers[1]), temperature=2.0).backward()
    gradient = towers[trained].grad
    assert gradient is not None and gradient.abs().max() > 0.1
    assert towers[1 - trained].grad is None


@pytest.mark.parametrize("side", SIDES)
def test_one_sided_distillation_has_its_minimum_where_its_tower_equals_the_teachers(side: str) -> None:
    own = AXES.clone().requires_grad_()
    features = two_pairs(image=own, text=-AXES) if side == "image" else two_pairs(image=-AXES, text=own)
    loss = loss_of(SIDES[side], features, temperature=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(entropy_of_axes(), abs=1e-5)
    torch.testing.assert_close(own.grad, torch.zeros(2, 2), rtol=0, atol=1e-6)


def unit_rows(count: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1)


def divergence(p: float, q: float) -> float:
    """KL((p, 1 - p) || (q, 1 - q)) in nats."""
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_reverse_kl_is_the_divergence_of_the_student_from_the_teacher() -> None:
    # T = 2: logits (2, 0) and (6, 0) become (1, 0) and (3, 0)
    student, teacher = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))
    loss = reverse_kl(torch.tensor([[2.0, 0.0]]), torch.tensor([[6.0, 0.0]]), temperature=2.0)
    assert loss.item() == pytest.approx(4 * divergence(student, teacher), abs=1e-6)
    assert abs(divergence(student, teacher) - divergence(teacher, student)) > 0.05  # it is not symmetric


def test_reverse_kl_is_the_mean_over_the_rows() -> None:
    # the second rows are equal, so they halve the loss of the first
    one = reverse_kl(torch.tensor([[2.0, 0.0]]), torch.tensor([[6.0, 0.0]]), temperature=2.0)
    two = reverse_kl(torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([[6.0, 0.0], [1.0, 3.0]]), temperature=2.0)
    assert two.item() == pytest.approx(one.item() / 2, abs=1e-6)


def test_reverse_kl_distillation_equals_torchs_kl_div_in_both_directions() -> None:
    features = pair_features(*[unit_rows(4, seed) for seed in range(4)], torch.arange(4), torch.tensor(5.0))
    student_MM, teacher_MM = (logits / 2 for logits in logits_of(features))
    rows, columns = (
        functional.kl_div(  # kl_div(input, target) is KL(target || input)
            teacher.log_softmax(dim=1), student.log_softmax(dim=1), reduction="batchmean", log_target=True
        )
        for student, teacher in ((student_MM, teacher_MM), (student_MM.T, teacher_MM.T))
    )
    assert abs(rows.item() - columns.item()) > 1e-2
    loss = loss_of(distill_reverse_kl, features, temperature=2.0)
    assert loss.item() == pytest.approx(4 * (rows + columns).item(), abs=1e-5)


def test_reverse_kl_is_zero_with_zero_gradient_where_student_and_teacher_are_equal() -> None:
    student_RC = torch.tensor([[2.0, 0.0], [1.0, 3.0]], requires_grad=True)
    loss = reverse_kl(student_RC, student_RC.detach() + 1.0, temperature=2.0)  # a constant per row has no effect
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(student_RC.grad, torch.zeros(2, 2), rtol=0, atol=1e-6)


def squared_error(
    image: torch.Tensor, text: torch.Tensor, teacher_image: torch.Tensor, teacher_text: torch.Tensor
) -> torch.Tensor:
    features = (image, text, teacher_image, teacher_text)
    return loss_of(distill_features, pair_features(*features, torch.arange(len(text)), torch.tensor(100.0)))


def test_feature_distillation_is_the_mean_squared_error_of_images_plus_that_of_texts() -> None:
    # images: squares 0.36, 0.04, 0, 0 over 2 * 2 numbers = 0.1; texts: 4 * 1 over 4 = 1; the scale has no effect
    image, teacher_image = torch.tensor([[0.6, 0.8], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert squared_error(image, AXES, teacher_image, AXES.flip(0)).item() == pytest.approx(0.1 + 1.0, abs=1e-6)


def test_feature_distillation_takes_the_means_of_images_and_of_texts_separately() -> None:
    # one image and three texts, each opposite to the teacher's: 4 / D for each tower, however many rows
    axis = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    loss = squared_error(axis, axis.repeat(3, 1), -axis, -axis.repeat(3, 1))
    assert loss.item() == pytest.approx(8 / 4)


def test_feature_distillation_is_zero_where_student_and_teacher_are_equal() -> None:
    assert squared_error(AXES, AXES, AXES, AXES).item() == 0


def test_feature_distillation_has_gradients_for_the_student_only() -> None:
    student = [torch.eye(2).requires_grad_() for _ in range(2)]
    teacher = [torch.eye(2).flip(0).requires_grad_() for _ in range(2)]
    squared_error(*student, *teacher).backward()
    for own, other in zip(student, teacher, strict=True):
        torch.testing.assert_close(own.grad, (own - other).detach() / 2)  # a mean over 4 numbers: 2 * difference / 4
        assert other.grad is None


def test_any_loop_can_call_a_loss_on_tensors_with_the_papers_defaults() -> None:
    features = [unit_rows(4, seed) for seed in range(4)]
    expected = loss_of(
        distill, pair_features(*features, torch.arange(4), torch.tensor(100.0)), temperature=2.0
    )  # OpenAI's CLIP has the scale 100
    assert distill(*features).item() == expected.item()
    assert distill(*features, temperature=3.0, scale=100).item() != expected.item()
    pairs = pair_features(*features, torch.arange(4), torch.tensor(100.0))
    assert align(*features[:2]).item() == loss_of(align, pairs, label_smoothing=0.2).item()


def test_the_entropy_is_the_value_of_distillation_where_student_and_teacher_are_equal() -> None:
    assert distill_entropy(AXES, AXES, temperature=2.0, scale=2.0).item() == pytest.approx(entropy_of_axes(), abs=1e-6)
    teacher = unit_rows(4, 1), unit_rows(4, 2)
    assert distill(*teacher, *teacher).item() == distill_entropy(*teacher).item()
    assert not distill_entropy(teacher[0].clone().requires_grad_(), teacher[1]).requires_grad


@pytest.mark.parametrize("name", ENTROPIES)
def test_a_loss_minus_its_entropy_is_the_kl_divergence_from_the_teacher(name: str) -> None:
    features = pair_features(*[unit_rows(4, seed) for seed in range(4)], torch.arange(4), torch.tensor(5.0))
    teacher = features.batch.teacher_image_MD, features.batch.teacher_text_MD
    image_MD, text_MD = features.student_image_MD, features.student_text_MD
    by_image, by_text = {
        "distill_image_side": ((image_MD, teacher[1]), (image_MD, teacher[1])),
        "distill_text_side": ((teacher[0], text_MD), (teacher[0], text_MD)),
        "distill_vocabulary": ((image_MD, teacher[1]), (teacher[0], text_MD)),
    }.get(name, ((image_MD, text_MD), (image_MD, text_MD)))
    rows_MM, columns_MM = (5 * images @ texts.T / 2 for images, texts in (by_image, by_text))
    teacher_MM = logits_of(features)[1] / 2
    expected = sum(
        4 * functional.kl_div(own.log_softmax(1), other.log_softmax(1), reduction="batchmean", log_target=True)
        for own, other in ((rows_MM, teacher_MM), (columns_MM.T, teacher_MM.T))
    )
    entropy = loss_of(ENTROPIES[name], features, **LOSS_OPTIONS[name])
    divergence = loss_of(LOSSES[name], features, **LOSS_OPTIONS[name]) - entropy
    assert expected > 0.1
    assert divergence.item() == pytest.approx(expected.item(), abs=1e-5)


def test_no_loss_is_named_like_an_entropy() -> None:
    assert set(ENTROPIES) < set(LOSSES)
    assert not [name for name in LOSSES if name.endswith(ENTROPY)]


THREE, WIDE = torch.eye(3), torch.eye(2, 3)
MISFITS: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "a text too many": (lambda: align(AXES, THREE[:, :2]), r"pairs: shapes \[2, 2\] and \[3, 2\] should be equal"),
    "another teacher's size": (lambda: distill_image_side(AXES, WIDE, WIDE), r"images \[2, 2\] and of texts \[2, 3\]"),
    "a teacher of other images": (lambda: distill(AXES, AXES, THREE, THREE), r"\[2, 2\] and \[3, 3\] should be equal"),
    "one image": (lambda: distill(AXES[0], AXES, AXES, AXES), r"features of images \[2\] and of texts \[2, 2\]"),
    "features of two sizes": (lambda: distill_features(AXES, AXES, WIDE, WIDE), r"image features: shapes .*\[2, 3\]"),
    "classes of another model": (lambda: task_loss(AXES, WIDE, labels_B=torch.tensor([0, 1])), r"of texts \[2, 3\]"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_features_that_do_not_belong_together_are_refused(name: str) -> None:
    loss, message = MISFITS[name]
    with pytest.raises(UserError, match=message):
        loss()


def test_the_teacher_may_have_features_of_another_size() -> None:
    assert distill(AXES, AXES, WIDE, WIDE).isfinite()


def test_pairs_with_the_same_prompt_share_the_mass() -> None:
    expected = [[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]]
    assert shared_prompt_targets(torch.tensor([7, 3, 7, 9])).tolist() == expected


def test_alignment_sums_both_directions_of_smoothed_cross_entropy() -> None:
    # S = [[2, 1.2], [0, 1.6]], targets = identity smoothed by 0.2: 0.9 and 0.1
    def cross_entropy(own: float, other: float) -> float:
        total = math.log(math.exp(own) + math.exp(other))
        return 0.9 * (total - own) + 0.1 * (total - other)

    rows = (cross_entropy(2.0, 1.2) + cross_entropy(1.6, 0.0)) / 2
    columns = (cross_entropy(2.0, 0.0) + cross_entropy(1.6, 1.2)) / 2
    assert loss_of(align, two_pairs(text=TILTED), label_smoothing=0.2).item() == pytest.approx(rows + columns, abs=1e-6)


def test_alignment_of_two_images_with_the_same_prompt_targets_equal_shares() -> None:
    features = two_pairs(text=torch.tensor([[1.0, 0.0], [1.0, 0.0]]), prompt_ids=(5, 5), scale=0.0)
    assert loss_of(align, features, label_smoothing=0.2).item() == pytest.approx(2 * math.log(2), abs=1e-6)


def test_logits_have_one_row_per_image_and_one_column_per_text() -> None:
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    features = two_pairs(text=texts, teacher=(AXES.flip(0), texts), prompt_ids=(0, 1, 2), scale=10.0)
    student_MM, teacher_MM = logits_of(features)
    torch.testing.assert_close(student_MM, torch.tensor([[10.0, 0.0, 6.0], [0.0, 10.0, 8.0]]))
    torch.testing.assert_close(teacher_MM, torch.tensor([[0.0, 10.0, 8.0], [10.0, 0.0, 6.0]]))


ENCODERS = {name: ["images", "texts"] for name in LOSS_OPTIONS} | {
    "distill_image_side": ["images"],
    "distill_text_side": ["texts"],
}


class Towers:
    """Records which encoders run."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def features(self) -> PairFeatures:
        ids = torch.arange(2)
        batch = ReplayBatch(AXES, AXES, ids, AXES, AXES, AXES, AXES, ids)
        images, texts = (lambda _: self.run("images")), (lambda _: self.run("texts"))
        return PairFeatures(batch, images, texts, torch.tensor(3.0))

    def run(self, tower: str) -> torch.Tensor:
        self.ran.append(tower)
        return torch.tensor([[0.6, 0.8], [1.0, 0.0]])


def test_every_loss_is_tested_here() -> None:
    assert set(LOSS_OPTIONS) == set(LOSSES)


@pytest.mark.parametrize("name", LOSS_OPTIONS)
def test_a_loss_runs_the_encoders_it_needs_and_no_other(name: str) -> None:
    towers = Towers()
    features = towers.features()
    assert towers.ran == []
    assert loss_of(LOSSES[name], features, **LOSS_OPTIONS[name]).item() > 0
    assert sorted(towers.ran) == ENCODERS[name]


def test_two_losses_share_the_encoded_features() -> None:
    towers = Towers()
    features = towers.features()
    for name in ("distill", "align"):
        loss_of(LOSSES[name], features, **LOSS_OPTIONS[name])
    assert sorted(towers.ran) == ["images", "texts"]
