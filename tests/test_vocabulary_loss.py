"""The loss distill_vocabulary against loops in numpy, and where its gradient goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gift_core.errors import UserError
from gift_core.losses import distill_vocabulary, distill_vocabulary_entropy
from gift_core.pair_features import PairFeatures, ReplayBatch
from tests.test_losses import unit_rows

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
    "a prompt twice": ([4, 0, 4], [1, 6, 3]),
    "an image twice, at the end of an epoch": ([4, 0, 4], [1, 6, 1]),
    "one prompt": ([5, 5, 5], [0, 1, 2]),
}
# Images and texts of a batch (of a prompt that is there twice, the first text counts), and the teacher's.
FEATURES = [unit_rows(count, seed) for seed, count in enumerate((3, 3, 6, 7))]
VOCABULARY, KNOWN = FEATURES[2:]


@pytest.mark.parametrize("batch", BATCHES)
def test_the_loss_is_that_of_loops_over_images_and_texts(batch: str) -> None:
    prompts, ids = BATCHES[batch]
    loss = distill_vocabulary(*FEATURES, torch.tensor(prompts), torch.tensor(ids), temperature=2.0, scale=5.0)
    expected = by_loops(*(each.double().numpy() for each in FEATURES), prompts, ids, scale=5.0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch", BATCHES)
def test_it_has_its_minimum_where_the_student_is_the_teacher(batch: str) -> None:
    prompts, ids = (torch.tensor(rows) for rows in BATCHES[batch])
    student = [KNOWN[ids].requires_grad_(), VOCABULARY[prompts].requires_grad_()]
    loss = distill_vocabulary(*student, VOCABULARY, KNOWN, prompts, ids, scale=5.0)
    entropy = distill_vocabulary_entropy(VOCABULARY, KNOWN, prompts, ids, scale=5.0)
    assert loss.item() == pytest.approx(entropy.item(), rel=1e-6)
    assert not entropy.requires_grad
    for gradient in torch.autograd.grad(loss, student):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-5)


def test_the_vocabularys_features_are_not_copied() -> None:
    """What the graph keeps grows with M * P and not with P * D, which is a hundred times as much here."""
    student = [torch.randn(2, 512).requires_grad_() for _ in range(2)]
    vocabulary, known, rows = torch.randn(2000, 512), torch.randn(2000, 512), torch.arange(2)
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


def test_images_and_texts_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(UserError, match="images and texts, which are pairs"):
        distill_vocabulary(FEATURES[0], FEATURES[1][:2], VOCABULARY, KNOWN, torch.arange(2), torch.arange(2))
