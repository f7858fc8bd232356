"""Several tasks at once: a batch of each in every round, and each told apart among its own classes."""

from __future__ import annotations

import torch

from gift_core.clip.batches import JointImages, TaskBatch, TrainingImages
from gift_core.clip.pixels import Allowance
from tests.clip.tiny import Picture, png, tiny_clip

PROMPTS = {"birds": ["a tit.", "a wren.", "an owl."], "digits": ["a one.", "a two."], "pets": ["a cat.", "an owl."]}
CLIP = tiny_clip()


def task(name: str, *, seed: int = 1) -> TrainingImages:
    """Ten images of the task, other ones for each."""
    first = 100 * list(PROMPTS).index(name)
    samples = [Picture(png(first + row), row % len(PROMPTS[name])) for row in range(10)]
    return TrainingImages(
        CLIP,
        samples,
        class_prompts=PROMPTS[name],
        batch_size=4,
        crop_scale=(0.9, 1.0),
        names=("test", seed, name),
        allowance=Allowance(),
    )


def joint(*, seed: int = 1) -> JointImages:
    return JointImages([task(name) for name in PROMPTS], ("test", seed))


def task_of(batch: TaskBatch, rounds: int) -> str:
    """Which task the images are from: the one that draws the same batch by itself in this round."""
    owners = [name for name in PROMPTS if torch.equal(task(name).draw(rounds).images_BCHW, batch.images_BCHW)]
    assert len(owners) == 1
    return owners[0]


def test_every_round_draws_the_next_batch_of_every_task() -> None:
    batches = joint()
    orders = [[task_of(batches.draw(3 * rounds + turn), rounds) for turn in range(3)] for rounds in range(6)]
    assert all(sorted(order) == sorted(PROMPTS) for order in orders)
    assert len({tuple(order) for order in orders}) > 1  # not always in the same order


def test_class_prompts_are_those_of_all_tasks_in_their_order() -> None:
    assert joint().class_prompts == ("a tit.", "a wren.", "an owl.", "a one.", "a two.", "a cat.", "an owl.")


def test_a_batch_counts_its_labels_within_the_prompts_of_its_own_task() -> None:
    batches = joint()
    for step in range(6):
        batch = batches.draw(step)
        name = task_of(batch, step // 3)
        assert list(batches.class_prompts[batch.classes]) == PROMPTS[name]
        assert torch.equal(batch.labels_B, task(name).draw(step // 3).labels_B)


def test_a_task_alone_is_told_apart_among_all_its_classes() -> None:
    batch = task("birds").draw(0)
    assert PROMPTS["birds"][batch.classes] == PROMPTS["birds"]


def test_a_batch_is_the_same_whenever_it_is_asked_for() -> None:
    batches, again = joint(), joint()
    late = batches.draw(7)
    assert torch.equal(late.images_BCHW, [again.draw(step) for step in range(8)][7].images_BCHW)


def test_another_seed_draws_another_order() -> None:
    orders = [[task_of(joint(seed=seed).draw(step), step // 3) for step in range(12)] for seed in (1, 2)]
    assert orders[0] != orders[1]


def test_no_tasks_have_no_class_prompts() -> None:
    assert JointImages([], ("test",)).class_prompts == ()
