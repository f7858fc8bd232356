"""Batches of replayed pairs: each pair with its own features, in seeded epochs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gift_core.artifacts.features import Features
from gift_core.artifacts.shards import Pair
from gift_core.clip.encoding import encode_images, encode_tokens
from gift_core.clip.images import CacheBudget
from gift_core.errors import ContractError
from gift_core.replay.pairs import PairReplay
from tests.clip.tiny import png, tiny_clip
from tests.replay.encoded import encoded

PROMPTS = ["a cat.", "a dog.", "a cat.", "a horse."]
PAIRS = [Pair(f"{row:05d}", row, prompt, png(row)) for row, prompt in enumerate(PROMPTS)]
CLIP = tiny_clip()


FEATURES = encoded(CLIP, PAIRS, batch_size=4)


def replay_of(features: Features, *, batch_size: int, size: int = 10**6) -> PairReplay:
    budget = CacheBudget(size)
    return PairReplay(CLIP, iter(PAIRS), features, batch_size=batch_size, names=("test",), cache_budget=budget)


def test_pairs_have_their_own_teacher_features_in_any_order_of_the_file() -> None:
    images, texts = FEATURES.image_MD[::-1].copy(), FEATURES.text_MD[::-1].copy()
    backwards = dataclasses.replace(FEATURES, keys=FEATURES.keys[::-1], image_MD=images, text_MD=texts)
    (batch,) = replay_of(backwards, batch_size=4).sample(0)
    with torch.no_grad():
        torch.testing.assert_close(encode_images(CLIP, batch.images_MCHW), batch.teacher_image_MD)
        torch.testing.assert_close(encode_tokens(CLIP, batch.tokens_ML), batch.teacher_text_MD)
    same_MM = batch.prompt_ids_M[:, None] == batch.prompt_ids_M[None, :]
    assert int(same_MM.sum()) == 6  # four pairs, two of them with the same prompt


def test_every_pair_is_sampled_once_per_epoch_however_many_are_cached() -> None:
    replays = [replay_of(FEATURES, batch_size=2, size=size) for size in (0, 2 * 3 * 16 * 16, 10**6)]
    batches = [torch.cat([replay.sample(number)[0].images_MCHW for number in range(2)]) for replay in replays]
    assert len(torch.unique(batches[0], dim=0)) == 4
    assert all(torch.equal(batches[0], other) for other in batches)


def test_a_pair_without_features_is_refused_with_the_stage_to_run() -> None:
    three = encoded(CLIP, PAIRS[:3], batch_size=4)
    with pytest.raises(ContractError, match=r"has 3 pairs, but the replay has 4.*00003.*stage teach"):
        replay_of(three, batch_size=2)
