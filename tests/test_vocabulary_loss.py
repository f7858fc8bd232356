"""The loss distill_vocabulary against numpy, against the one-sided losses, and where its gradient goes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from gift_core.errors import UserError
from gift_core.losses import (
    distill_image_side,
    distill_text_side,
    distill_vocabulary,
    distill_vocabulary_entropy,
    soft_cross_entropy,
)
from gift_core.pair_features import PairFeatures, ReplayBatch

Array = np.ndarray[Any, np.dtype[np.float64]]


def unit_rows(count: int, seed: int, size: int = 3) -> torch.Tensor:
    return functional.normalize(torch.randn(count, size, generator=torch.Generator().manual_seed(seed)), dim=1)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def by_loops(
    images: Array, texts: Array, vocabulary: Array, known: Array, prompts: list[int], ids: list[int], *, scale: float
) -> float:
    """At T = 2: the cross-entropy of each image, and then of each distinct text, against the teacher's features."""
    own_text = {prompt: texts[row] for row, prompt in reversed(list(enumerate(prompts)))}
    by_image = [
        -softmax(scale * vocabulary @ known[number] / 2) @ np.log(softmax(scale * vocabulary @ image / 2))
        for image, number in zip(images, ids, strict=True)
    ]
    by_text = [
        -softmax(scale * known @ vocabulary[prompt] / 2) @ np.log(softmax(scale * known @ text / 2))
        for prompt, text in own_text.items()
    ]
    return float(4 * np.mean(by_image) + 4 * np.mean(by_text))


# The rows of the batch's prompts among 6 texts, and of its images among 7 images.
BATCHES = {
    "different pairs": ([4, 0, 2], [1, 6, 3]),
    "a prompt twice": ([4, 0, 4], [1, 6, 3]),
    "an image twice, at the end of an epoch": ([4, 0, 4], [1, 6, 1]),
    "one prompt": ([5, 5, 5], [0, 1, 2]),
}


def features_of(prompts: list[int], ids: list[int]) -> list[torch.Tensor]:
    """Student's images and texts, vocabulary, all images. Equal pairs have equal features."""
    images, texts = unit_rows(7, 1)[ids], unit_rows(6, 2)[prompts]
    return [images, texts, unit_rows(6, 3), unit_rows(7, 4)]


@pytest.mark.parametrize("batch", BATCHES)
def test_the_loss_is_that_of_loops_over_images_and_texts(batch: str) -> None:
    prompts, ids = BATCHES[batch]
    features = features_of(prompts, ids)
    loss = distill_vocabulary(*features, torch.tensor(prompts), torch.tensor(ids), temperature=2.0, scale=5.0)
    expected = by_loops(*(each.double().numpy() for each in features), prompts, ids, scale=5.0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_one_pair_against_two_texts_and_two_images_by_hand() -> None:
    """s = 2, T = 2: the logits are the cosines. The teacher's are (1, 0) both ways.

    The student's image (0.6, 0.8) has 0.6 and 0.8 with the teacher's texts, its text (0.8, 0.6) has 0.8 and 0.6 with
    the teacher's images.
    """
    axes = torch.eye(2)
    image, text, first = torch.tensor([[0.6, 0.8]]), torch.tensor([[0.8, 0.6]]), torch.tensor([0])
    target = 1 / (1 + np.exp(-1))

    def cross_entropy(own: float, other: float) -> float:
        total = np.log(np.exp(own) + np.exp(other))
        return float(target * (total - own) + (1 - target) * (total - other))

    expected = 4 * (cross_entropy(0.6, 0.8) + cross_entropy(0.8, 0.6))
    loss = distill_vocabulary(image, text, axes, axes, first, first, temperature=2.0, scale=2.0)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_where_the_vocabulary_is_that_of_the_batch_its_parts_are_those_of_the_one_sided_losses() -> None:
    """Rows of distill_image_side and columns of distill_text_side: without them, the other directions are left."""
    images, texts = (unit_rows(5, seed) for seed in (1, 2))
    teacher = [unit_rows(5, seed) for seed in (3, 4)]
    rows, options = torch.arange(5), {"temperature": 2.0, "scale": 7.0}
    both = distill_image_side(images, *teacher, **options) + distill_text_side(texts, *teacher, **options)
    ours = distill_vocabulary(images, texts, teacher[1], teacher[0], rows, rows, **options)
    of_teacher = 7 * teacher[0] @ teacher[1].T
    columns = soft_cross_entropy(7 * teacher[1] @ images.T, of_teacher.T, temperature=2.0)
    columns_of_texts = soft_cross_entropy(7 * teacher[0] @ texts.T, of_teacher, temperature=2.0)
    assert ours.item() == pytest.approx((both - columns - columns_of_texts).item(), rel=1e-5)


def test_only_the_student_gets_a_gradient() -> None:
    prompts, ids = BATCHES["a prompt twice"]
    features = [each.requires_grad_() for each in features_of(prompts, ids)]
    teacher = [each.detach() for each in features[2:]]
    distill_vocabulary(*features[:2], *teacher, torch.tensor(prompts), torch.tensor(ids), scale=5.0).backward()
    image, text = (each.grad for each in features[:2])
    assert image is not None and (image.abs().sum(dim=1) > 1e-3).all()
    assert text is not None and text[0].abs().sum() > 1e-3 and text[1].abs().sum() > 1e-3
    assert not text[2].any()  # its prompt is that of the first pair, whose row stands for both


@pytest.mark.parametrize("batch", BATCHES)
def test_the_gradient_is_that_of_finite_differences(batch: str) -> None:
    prompts, ids = BATCHES[batch]
    images, texts, *teacher = (each.double() for each in features_of(prompts, ids))
    loss = partial(distill_vocabulary, scale=3.0, temperature=2.0)
    rows = torch.tensor(prompts), torch.tensor(ids)
    assert torch.autograd.gradcheck(
        lambda image_MD, text_MD: loss(image_MD, text_MD, *teacher, *rows),
        (images.requires_grad_(), texts.requires_grad_()),
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_it_has_its_minimum_where_the_student_is_the_teacher(batch: str) -> None:
    prompts, ids = (torch.tensor(rows) for rows in BATCHES[batch])
    vocabulary, known = unit_rows(6, 3), unit_rows(7, 4)
    student = [known[ids].requires_grad_(), vocabulary[prompts].requires_grad_()]
    loss = distill_vocabulary(*student, vocabulary, known, prompts, ids, scale=5.0)
    entropy = distill_vocabulary_entropy(vocabulary, known, prompts, ids, scale=5.0)
    assert loss.item() == pytest.approx(entropy.item(), rel=1e-6)
    assert not entropy.requires_grad
    for gradient in torch.autograd.grad(loss, student):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-5)


def test_the_entropy_is_the_teachers() -> None:
    prompts, ids = BATCHES["a prompt twice"]
    vocabulary, known = unit_rows(6, 3), unit_rows(7, 4)
    shares = [softmax(5 * vocabulary.double().numpy() @ known[row].double().numpy() / 2) for row in ids]
    shares_of_texts = [softmax(5 * known.double().numpy() @ vocabulary[row].double().numpy() / 2) for row in (4, 0)]
    expected = sum(4 * np.mean([-each @ np.log(each) for each in rows]) for rows in (shares, shares_of_texts))
    found = distill_vocabulary_entropy(vocabulary, known, torch.tensor(prompts), torch.tensor(ids), scale=5.0)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_unrelated_texts_hides_what_the_vocabulary_shows() -> None:
    """An image between two texts: within its batch the teacher is certain, against the vocabulary it is not."""
    vocabulary = functional.normalize(torch.tensor([[1.0, 0.1, 0.0], [1.0, -0.1, 0.0], [0.0, 0.0, 1.0]]), dim=1)
    known = torch.eye(3)[[0, 2]]
    rows = torch.tensor([0, 2]), torch.tensor([0, 1])
    whole = distill_vocabulary_entropy(vocabulary, known, *rows, scale=30.0)
    batch = distill_vocabulary_entropy(vocabulary[[0, 2]], known, torch.tensor([0, 1]), rows[1], scale=30.0)
    assert batch.item() < 1e-3
    assert whole.item() == pytest.approx(4 * np.log(2) / 2, abs=1e-2)  # one of the two images


def test_the_vocabularys_features_are_not_copied() -> None:
    """What the graph keeps grows with M * P and not with P * D, which is a hundred times as much here."""
    size, texts, images = 512, 2000, 2
    student = [unit_rows(images, seed, size).requires_grad_() for seed in (1, 2)]
    vocabulary, known, rows = unit_rows(texts, 3, size), unit_rows(texts, 4, size), torch.arange(images)
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        distill_vocabulary(*student, vocabulary, known, rows, rows)
    own = {each.untyped_storage().data_ptr() for each in (vocabulary, known)}
    assert own <= set(kept)  # the products keep the matrices themselves
    assert sum(count for pointer, count in kept.items() if pointer not in own) < 0.1 * vocabulary.nbytes


def test_a_replay_that_does_not_know_all_pairs_is_refused() -> None:
    rows = torch.arange(2)
    batch = ReplayBatch(torch.eye(2), torch.eye(2), rows, torch.eye(2), torch.eye(2))
    features = PairFeatures(batch, lambda images: images, lambda tokens: tokens, rows[1])
    with pytest.raises(UserError, match=r"takes vocabulary_text_PD, which this replay does not have.*use distill"):
        features.evaluate(distill_vocabulary)


@pytest.mark.parametrize("rows", [(3, 2), (2, 3)])
def test_images_and_texts_that_are_no_pairs_are_refused(rows: tuple[int, int]) -> None:
    student, ids = [unit_rows(count, 1) for count in rows], torch.arange(2)
    with pytest.raises(UserError, match="images and texts, which are pairs"):
        distill_vocabulary(*student, unit_rows(5, 2), unit_rows(5, 3), ids, ids)
