"""Each loss against numbers computed by hand, and which features it uses."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss
from torch.nn import functional

from gift_core.artifacts.model_folder import ENTROPY
from gift_core.errors import UserError
from gift_core.method.losses import (
    LOSSES,
    align,
    distill,
    distill_features,
    distill_reverse_kl,
    distill_vocabulary,
    pair_loss,
    shared_prompt_targets,
    task_loss,
)
from gift_core.method.methods import ENTROPIES
from gift_core.method.pair_features import PairFeatures, ReplayBatch
from tests.method.pair_features import LOSS_OPTIONS, loss_of, pair_features, unit_rows

Table = Sequence[Sequence[float]]
AXES = torch.eye(2)
TILTED = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
TEXTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
# The towers that a loss runs and trains; all others run both.
TOWERS = {"distill_image_side": ["image"], "distill_text_side": ["text"]}


def two_pairs(
    *,
    image: torch.Tensor = AXES,
    text: torch.Tensor = AXES,
    teacher: tuple[torch.Tensor, torch.Tensor] = (AXES, AXES),
    prompt_ids: tuple[int, ...] = (0, 1),
) -> PairFeatures:
    """A student with these features and the scale 2; the teacher's images and texts are the axes."""
    return pair_features(image, text, *teacher, torch.tensor(prompt_ids), torch.tensor(2.0))


# logits 3 * (1, 0) and 3 * (0.6, 0.8) with labels 0 and 1; then the first alone, 0.9 of the mass on class 0
@pytest.mark.parametrize(
    ("images", "label_smoothing", "expected"),
    [
        (TILTED, 0.0, (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(-0.6))) / 2),
        (TILTED[:1], 0.2, 0.9 * math.log(1 + math.exp(-3)) + 0.1 * math.log(1 + math.exp(3))),
    ],
)
def test_the_task_loss_has_smoothed_labels(images: torch.Tensor, label_smoothing: float, expected: float) -> None:
    labels_B = torch.arange(len(images))
    loss = task_loss(images, AXES, labels_B=labels_B, scale=3.0, label_smoothing=label_smoothing)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_loss_of_pairs_is_that_of_open_clip_where_all_pairs_differ() -> None:
    """And the half of align where captions are shared."""
    images, texts = unit_rows(5, 0, width=8), unit_rows(5, 1, width=8)
    loss = pair_loss(images, texts, targets_BB=torch.eye(5), scale=7.0, label_smoothing=0.0)
    assert loss.item() == pytest.approx(ClipLoss()(images, texts, torch.tensor(7.0)).item(), abs=1e-6)
    ids = torch.tensor([0, 1, 0, 2, 1])
    targets = shared_prompt_targets(ids)
    shared = pair_loss(images, texts, targets_BB=targets, scale=7.0, label_smoothing=0.2)
    assert 2 * shared.item() == pytest.approx(
        align(images, texts, ids, scale=7.0, label_smoothing=0.2).item(), abs=1e-6
    )


def over_rows(student: Table, teacher: Table, t: float, *, reverse: bool) -> float:
    """The mean cross-entropy, or reverse divergence, over the rows at temperature t, times t^2."""
    own, known = ((torch.tensor(table) / t).softmax(dim=1) for table in (student, teacher))
    return t**2 * (own * (own / known).log() if reverse else -known * own.log()).sum(dim=1).mean().item()


# S of images in rows and texts in columns, times the scale 2. A tower that has no effect is -AXES.
BY_HAND = {
    "distill": (two_pairs(text=TILTED), [[2, 1.2], [0, 1.6]], [[2, 0], [0, 2]]),
    "distill_reverse_kl": (two_pairs(text=TILTED), [[2, 1.2], [0, 1.6]], [[2, 0], [0, 2]]),
    "distill_image_side": (two_pairs(image=TILTED, text=-AXES), [[2, 0], [1.2, 1.6]], [[2, 0], [0, 2]]),
    "distill_text_side": (two_pairs(image=-AXES, text=TILTED), [[2, 1.2], [0, 1.6]], [[2, 0], [0, 2]]),
}
MORE_TEXTS = (
    two_pairs(image=TILTED, text=-TEXTS, teacher=(AXES, TEXTS), prompt_ids=(0, 1, 2)),
    [[2, 0, 1.2], [1.2, 1.6, 2]],
    [[2, 0, 1.2], [0, 2, 1.6]],
)


@pytest.mark.parametrize("temperature", [2.0, 3.0])
@pytest.mark.parametrize(("name", "case"), [*BY_HAND.items(), ("distill_image_side", MORE_TEXTS)])
def test_distillation_compares_softened_similarities_in_both_directions(
    name: str, case: tuple[PairFeatures, Table, Table], temperature: float
) -> None:
    features, student, teacher = case
    reverse = name == "distill_reverse_kl"
    rows = over_rows(student, teacher, temperature, reverse=reverse)
    columns = over_rows(*(torch.tensor(table).T.tolist() for table in (student, teacher)), temperature, reverse=reverse)
    assert abs(rows - columns) > 1e-3
    loss = loss_of(LOSSES[name], features, temperature=temperature)
    assert loss.item() == pytest.approx(rows + columns, abs=1e-5)


AXIS = torch.eye(1, 4)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        # images: squares 0.36, 0.04, 0, 0 over 2 * 2 numbers = 0.1; texts: 4 * 1 over 4 = 1
        ((torch.tensor([[0.6, 0.8], [0.0, 1.0]]), AXES, AXES[[1, 1]], AXES.flip(0)), 0.1 + 1.0),
        # one image and three texts, each opposite to the teacher's: 4 / D for each tower, however many rows
        ((AXIS, AXIS.repeat(3, 1), -AXIS, -AXIS.repeat(3, 1)), 8 / 4),
    ],
    ids=["pairs", "more texts"],
)
def test_feature_distillation_is_the_mean_squared_error_of_images_plus_that_of_texts(
    features: tuple[torch.Tensor, ...], expected: float
) -> None:
    assert distill_features(*features).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_runs_and_trains_its_towers_and_no_other(name: str) -> None:
    ran: list[str] = []
    towers = {tower: TILTED.flip(0).requires_grad_() for tower in ("image", "text")}

    def encode(tower: str) -> torch.Tensor:
        ran.append(tower)
        return towers[tower]

    ids = torch.arange(2)
    batch = ReplayBatch(AXES, AXES, ids, AXES, AXES, AXES, AXES, ids)
    features = PairFeatures(batch, lambda _: encode("image"), lambda _: encode("text"), torch.tensor(3.0))
    assert ran == []
    loss_of(LOSSES[name], features, **LOSS_OPTIONS[name]).backward()
    assert sorted(ran) == TOWERS.get(name, ["image", "text"])
    for tower, own in towers.items():
        assert own.grad is not None and own.grad.abs().max() > 0.1 if tower in ran else own.grad is None
    loss_of(LOSSES[name], features, **LOSS_OPTIONS[name])
    assert len(ran) == len(set(ran)), "a second loss uses the encoded features"


@pytest.mark.parametrize("loss", [distill, distill_reverse_kl, distill_features])
def test_the_teacher_gets_no_gradient(loss: Callable[..., torch.Tensor]) -> None:
    features = [unit_rows(4, seed).requires_grad_() for seed in range(4)]
    loss(*features).backward()
    assert [value.grad is None for value in features] == [False, False, True, True]


def test_the_defaults_are_those_of_the_paper() -> None:
    paper = {"temperature": 2.0, "label_smoothing": 0.2, "scale": 100.0}  # OpenAI's CLIP has the scale 100
    for loss in (task_loss, *LOSSES.values(), *ENTROPIES.values()):
        for name, parameter in inspect.signature(loss).parameters.items():
            assert name not in paper or parameter.default == paper[name], (loss, name)
    features = [unit_rows(4, seed) for seed in range(2)]
    assert align(*features).item() == align(*features, torch.arange(4)).item()
    assert set(ENTROPIES) < set(LOSSES) and not [name for name in LOSSES if name.endswith(ENTROPY)]


@pytest.mark.parametrize("name", ENTROPIES)
def test_a_loss_minus_its_entropy_is_the_kl_divergence_from_the_teacher(name: str) -> None:
    image_MD, text_MD = unit_rows(4, 0), unit_rows(4, 1)
    teacher = unit_rows(4, 2).requires_grad_(), unit_rows(4, 3)
    features = pair_features(image_MD, text_MD, *teacher, torch.arange(4), torch.tensor(5.0))
    by_image, by_text = {
        "distill_image_side": ((image_MD, teacher[1]), (image_MD, teacher[1])),
        "distill_text_side": ((teacher[0], text_MD), (teacher[0], text_MD)),
        "distill_vocabulary": ((image_MD, teacher[1]), (teacher[0], text_MD)),
    }.get(name, ((image_MD, text_MD), (image_MD, text_MD)))
    rows_MM, columns_MM, teacher_MM = (5 * images @ texts.T / 2 for images, texts in (by_image, by_text, teacher))
    expected = sum(
        4 * functional.kl_div(own.log_softmax(1), other.log_softmax(1), reduction="batchmean", log_target=True)
        for own, other in ((rows_MM, teacher_MM), (columns_MM.T, teacher_MM.T))
    )
    entropy = loss_of(ENTROPIES[name], features, **LOSS_OPTIONS[name])
    assert expected > 0.1 and not entropy.requires_grad
    divergence = loss_of(LOSSES[name], features, **LOSS_OPTIONS[name]) - entropy
    assert divergence.item() == pytest.approx(expected.item(), abs=1e-5)


# pairs with the same prompt share the mass
@pytest.mark.parametrize(("prompt_ids", "share"), [((0, 1), 0.9), ((5, 5), 0.5)])
def test_alignment_sums_both_directions_of_smoothed_cross_entropy(prompt_ids: tuple[int, int], share: float) -> None:
    # S = [[2, 1.2], [0, 1.6]]; the targets of different prompts are the identity smoothed by 0.2: 0.9 and 0.1
    def one_row(own: float, other: float) -> float:
        total = math.log(math.exp(own) + math.exp(other))
        return share * (total - own) + (1 - share) * (total - other)

    rows = (one_row(2.0, 1.2) + one_row(1.6, 0.0)) / 2
    columns = (one_row(2.0, 0.0) + one_row(1.6, 1.2)) / 2
    loss = loss_of(align, two_pairs(text=TILTED, prompt_ids=prompt_ids), label_smoothing=0.2)
    assert loss.item() == pytest.approx(rows + columns, abs=1e-6)


Array = np.ndarray[Any, np.dtype[np.float64]]


def by_loops(
    images: Array, texts: Array, vocabulary: Array, known: Array, prompts: list[int], ids: list[int], *, scale: float
) -> float:
    """At T = 2: the cross-entropy of each image, and then of each distinct text, against the teacher's features."""

    def one(student: Array, teacher: Array, columns: Array) -> float:
        powers = [np.exp(scale * columns @ row / 2) for row in (teacher, student)]
        target, own = (power / power.sum() for power in powers)
        return float(-target @ np.log(own))

    first = {prompt: texts[row] for row, prompt in reversed(list(enumerate(prompts)))}
    by_image = [one(image, known[number], vocabulary) for image, number in zip(images, ids, strict=True)]
    by_text = [one(text, vocabulary[prompt], known) for prompt, text in first.items()]
    return float(4 * np.mean(by_image) + 4 * np.mean(by_text))


# The rows of the batch's prompts among 6 texts, and of its images among 7 images.
BATCHES = {
    "different pairs": ([4, 0, 2], [1, 6, 3]),
    "a prompt and an image twice, at the end of an epoch": ([4, 0, 4], [1, 6, 1]),
    "one prompt": ([5, 5, 5], [0, 1, 2]),
}
# Images and texts of a batch (of a prompt that is there twice, the first text counts), and the teacher's.
FEATURES = [unit_rows(count, seed) for seed, count in enumerate((3, 3, 6, 7))]
VOCABULARY, KNOWN = FEATURES[2:]


@pytest.mark.parametrize("batch", BATCHES)
def test_the_vocabulary_loss_is_that_of_loops_over_images_and_texts(batch: str) -> None:
    prompts, ids = BATCHES[batch]
    loss = distill_vocabulary(*FEATURES, torch.tensor(prompts), torch.tensor(ids), temperature=2.0, scale=5.0)
    expected = by_loops(*(each.double().numpy() for each in FEATURES), prompts, ids, scale=5.0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_vocabulary_loss_refuses_a_replay_that_does_not_know_all_pairs_and_what_is_no_pair() -> None:
    rows = torch.arange(2)
    batch = ReplayBatch(torch.eye(2), torch.eye(2), rows, torch.eye(2), torch.eye(2))
    features = PairFeatures(batch, lambda images: images, lambda tokens: tokens, rows[1])
    with pytest.raises(UserError, match=r"takes vocabulary_text_PD, which this replay does not have.*use distill"):
        features.evaluate(distill_vocabulary)
    with pytest.raises(UserError, match="images and texts, which are pairs"):
        distill_vocabulary(FEATURES[0], FEATURES[1][:2], VOCABULARY, KNOWN, rows, rows)
