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


@pytest.fixture(scope="module")
def features() -> Features:
    return encoded(CLIP, PAIRS, batch_size=4)


def replay_of(features: Features, *, batch_size: int, cache_budget: CacheBudget | None = None) -> PairReplay:
    pairs = iter(PAIRS)
    return PairReplay(
        CLIP, pairs, features, batch_size=batch_size, names=("test",), cache_budget=cache_budget or CacheBudget()
    )


def test_pairs_have_their_own_teacher_features_in_any_order_of_the_file(features: Features) -> None:
    backwards = dataclasses.replace(
        features,
        keys=features.keys[::-1],
        image_MD=features.image_MD[::-1].copy(),
        text_MD=features.text_MD[::-1].copy(),
    )
    (batch,) = replay_of(backwards, batch_size=4).sample(0)
    with torch.no_grad():
        torch.testing.assert_close(encode_images(CLIP, batch.images_MCHW), batch.teacher_image_MD)
        torch.testing.assert_close(encode_tokens(CLIP, batch.tokens_ML), batch.teacher_text_MD)
    same_MM = batch.prompt_ids_M[:, None] == batch.prompt_ids_M[None, :]
    assert int(same_MM.sum()) == 6  # four pairs, two of them with the same prompt


def test_every_pair_is_sampled_once_per_epoch(features: Features) -> None:
    replay = replay_of(features, batch_size=2)
    images = torch.cat([replay.sample(iteration)[0].images_MCHW for iteration in range(2)])
    assert len(torch.unique(images, dim=0)) == 4


def test_batches_do_not_depend_on_the_number_of_cached_images(features: Features) -> None:
    replays = [
        replay_of(features, batch_size=3, cache_budget=CacheBudget(size)) for size in (0, 2 * 3 * 16 * 16, 10**6)
    ]
    for iteration in range(5):
        first, *others = (replay.sample(iteration)[0] for replay in replays)
        assert all(torch.equal(first.images_MCHW, other.images_MCHW) for other in others)


def test_a_pair_without_features_is_refused_with_the_stage_to_run() -> None:
    three = encoded(CLIP, PAIRS[:3], batch_size=4)
    with pytest.raises(ContractError, match=r"has 3 pairs, but the replay has 4.*00003.*stage teach"):
        replay_of(three, batch_size=2)
