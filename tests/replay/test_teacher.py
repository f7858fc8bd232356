"""The teacher's features: constant for the task, each prompt encoded once, rows matched by key."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gift_core.artifacts.shards import Pair
from gift_core.clip.encoding import encode_images, encode_tokens
from gift_core.clip.images import CacheBudget
from gift_core.errors import ContractError, UserError
from gift_core.replay.pairs import NoReplay, PairReplay
from gift_core.replay.teach import encode_pairs
from tests.clip.tiny import png, tiny_clip

PROMPTS = ["a cat.", "a dog.", "a cat.", "a horse."]
PAIRS = [Pair(f"{row:05d}", row, prompt, png(row)) for row, prompt in enumerate(PROMPTS)]


def test_features_have_one_unit_row_a_pair_and_say_their_precision() -> None:
    features = encode_pairs(tiny_clip(), PAIRS, batch_size=3, metadata={"model": "abc"})
    assert features.keys == ("00000", "00001", "00002", "00003")
    assert features.image_MD.shape == features.text_MD.shape == (4, 8)
    np.testing.assert_allclose(np.linalg.norm(features.image_MD, axis=1), 1, atol=1e-6)
    assert features.metadata == {"model": "abc", "precision": "fp32"}


def test_the_same_prompt_has_the_same_text_feature() -> None:
    features = encode_pairs(tiny_clip(), PAIRS, batch_size=3, metadata={})
    assert (features.text_MD[0] == features.text_MD[2]).all()
    assert not np.allclose(features.text_MD[0], features.text_MD[1])


def test_no_pairs_are_refused() -> None:
    with pytest.raises(UserError, match="no pairs"):
        encode_pairs(tiny_clip(), [], batch_size=3, metadata={})


def test_replay_draws_pairs_with_their_own_teacher_features() -> None:
    clip = tiny_clip()
    features = encode_pairs(clip, PAIRS, batch_size=4, metadata={})
    shuffled = dataclasses.replace(
        features,
        keys=features.keys[::-1],
        image_MD=features.image_MD[::-1].copy(),
        text_MD=features.text_MD[::-1].copy(),
    )
    (batch,) = PairReplay(clip, PAIRS, shuffled, batch_size=4, names=("test",), cache_budget=CacheBudget()).draw(0)
    with torch.no_grad():
        torch.testing.assert_close(encode_images(clip, batch.images_MCHW), batch.teacher_image_MD)
        torch.testing.assert_close(encode_tokens(clip, batch.tokens_ML), batch.teacher_text_MD)
    equal_MM = batch.prompt_ids_M[:, None] == batch.prompt_ids_M[None, :]
    assert int(equal_MM.sum()) == 6  # four pairs, two of the same prompt


def test_replay_shows_every_pair_once_an_epoch() -> None:
    clip = tiny_clip()
    features = encode_pairs(clip, PAIRS, batch_size=4, metadata={})
    replay = PairReplay(clip, PAIRS, features, batch_size=2, names=("test",), cache_budget=CacheBudget())
    images = torch.cat([replay.draw(step)[0].images_MCHW for step in range(2)])
    assert len(torch.unique(images, dim=0)) == 4


def test_batches_do_not_depend_on_how_many_images_are_kept() -> None:
    clip = tiny_clip()
    features = encode_pairs(clip, PAIRS, batch_size=4, metadata={})
    replays = [
        PairReplay(clip, iter(PAIRS), features, batch_size=3, names=("test",), cache_budget=CacheBudget(room))
        for room in (0, 2 * 3 * 16 * 16, 10**6)
    ]
    for step in range(5):
        first, *others = (replay.draw(step)[0] for replay in replays)
        assert all(torch.equal(first.images_MCHW, other.images_MCHW) for other in others)


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
def test_a_teacher_under_autocast_says_nearly_the_same_in_float32(precision: str) -> None:
    exact, fast = (
        encode_pairs(tiny_clip(precision=kind), PAIRS, batch_size=3, metadata={}) for kind in ("fp32", precision)
    )
    assert fast.image_MD.dtype == np.float32 and fast.metadata["precision"] == precision
    np.testing.assert_allclose(fast.image_MD, exact.image_MD, atol=2e-2)
    np.testing.assert_allclose(fast.text_MD, exact.text_MD, atol=2e-2)
    assert not np.array_equal(fast.image_MD, exact.image_MD)


def test_a_pair_without_features_names_the_stage_to_run() -> None:
    clip = tiny_clip()
    features = encode_pairs(clip, PAIRS[:3], batch_size=4, metadata={})
    with pytest.raises(ContractError, match=r"holds 3 pairs, the shards 4.*00003.*stage teach"):
        PairReplay(clip, PAIRS, features, batch_size=2, names=("test",), cache_budget=CacheBudget())


def test_no_replay_draws_nothing() -> None:
    assert NoReplay().draw(0) == ()
