"""Batches of images with captions: every caption is sampled, and equal ones share the target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from gift_core.artifacts.task import index_task
from gift_core.clip.batches import JointImages, TrainingPairs
from gift_core.clip.encoding import cut_texts, tokenize
from gift_core.clip.images import CacheBudget
from tests.clip.test_batches import CLIP, task
from tests.clip.tiny import CONTEXT
from tests.made import made_task

CAPTIONS = [("a cat.", "the cat", "one cat"), ("a dog.", "the dog"), ("a cat.",), ("a hen.",)]


def write_pets(folder: Path, all_captions: Sequence[tuple[str, ...]]) -> Path:
    """The training and the test images of a task have these captions."""
    return made_task(folder / "pets", all_captions, ("a cat.", "a dog."), ("{}",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pets(tmp_path, CAPTIONS)


def pairs(folder: Path, *, batch_size: int = 4) -> TrainingPairs:
    return TrainingPairs(
        CLIP, index_task(folder, "train"), class_prompts=("a cat.",), batch_size=batch_size, crop_scale=(0.9, 1.0),
        names=("test", 1), cache_budget=CacheBudget(),
    )  # fmt: skip


def test_every_caption_of_an_image_is_sampled_and_a_batch_depends_on_nothing_but_its_number(folder: Path) -> None:
    batches, again = pairs(folder), pairs(folder)
    rows = {caption: tokenize(CLIP, [caption])[0].tolist() for captions in CAPTIONS for caption in captions}
    seen: set[str] = set()
    for iteration in range(12):
        batch = batches.sample(iteration)
        seen |= {caption for caption, row in rows.items() if row in batch.tokens_BL.tolist()}
    assert seen == set(rows)
    for other in (again.sample(7), batches.sample(7)):
        assert torch.equal(other.images_BCHW, pairs(folder).sample(7).images_BCHW)
        assert torch.equal(other.tokens_BL, pairs(folder).sample(7).tokens_BL)


def test_equal_captions_and_equal_images_share_the_target(folder: Path) -> None:
    """With more pairs than images, an image occurs more than once, also with different captions."""
    of_dog, different = tokenize(CLIP, CAPTIONS[1]), 0
    for iteration in range(8):
        batch = pairs(folder, batch_size=6).sample(iteration)
        same_BB = batch.targets["targets_BB"] > 0
        assert torch.equal(same_BB, same_BB.T) and bool(same_BB.diagonal().all())
        assert torch.allclose(batch.targets["targets_BB"].sum(dim=1), torch.ones(6))
        equal_texts_BB = (batch.tokens_BL[:, None] == batch.tokens_BL[None]).all(dim=2)
        assert bool(same_BB[equal_texts_BB].all())
        dogs = (batch.tokens_BL[:, None] == of_dog[None]).all(dim=2).any(dim=1).nonzero().flatten()
        assert bool(same_BB[dogs][:, dogs].all())
        different += not bool(equal_texts_BB[dogs][:, dogs].all())
    assert different


def test_captions_with_the_same_tokens_share_the_target_too(tmp_path: Path) -> None:
    """They differ in case, in a second space, and after the context."""
    long = "a cat " * CONTEXT
    folder = write_pets(tmp_path, [("a cat.",), ("A  Cat.",), (f"{long}red",), (f"{long}blue",)])
    batch = pairs(folder).sample(0)
    is_long_B = (batch.tokens_BL != 0).sum(dim=1) > 10
    assert torch.equal(batch.targets["targets_BB"] == 0.5, is_long_B[:, None] == is_long_B[None])


def test_a_process_decodes_its_share_and_has_all_texts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs(folder).sample(3)
    monkeypatch.setattr("gift_core.clip.batches.own_share", lambda rows: slice(1, 3))
    part = pairs(folder).sample(3)
    assert torch.equal(whole.tokens_BL, part.tokens_BL)
    assert torch.equal(whole.targets["targets_BB"], part.targets["targets_BB"])
    assert torch.equal(whole.images_BCHW[1:3], part.images_BCHW[1:3])
    assert not part.images_BCHW[[0, 3]].any()


def test_a_joint_round_has_pairs_and_classes(folder: Path) -> None:
    joint = JointImages([pairs(folder), task("digits", count=4)], ("test",))
    assert sorted(joint.sample(iteration).kind for iteration in range(2)) == ["classes", "pairs"]
    tokens_KL = tokenize(CLIP, joint.class_prompts)
    of_classes = next(batch for batch in map(joint.sample, range(2)) if batch.kind == "classes")
    assert torch.equal(of_classes.texts(tokens_KL), tokens_KL[1:])


def test_texts_that_fill_the_context_are_counted(folder: Path) -> None:
    fits, fills = "cat " * (CONTEXT - 3), "cat " * (CONTEXT + 5)
    assert cut_texts(CLIP, ["a cat.", fits, fills]) == 1
    assert pairs(folder).summary == "4 images with 7 captions"
