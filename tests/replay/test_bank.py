"""Images against texts that are not theirs: every batch comes with all texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gift_core.artifacts.features import ImageFeatures, TextFeatures
from gift_core.clip.encoding import encode_images, encode_tokens, image_features, text_features
from gift_core.clip.images import CacheBudget, evaluation_pixels, in_memory
from gift_core.clip.model import Clip
from gift_core.errors import ContractError
from gift_core.replay.unpaired import UnpairedReplay
from tests.clip.tiny import png, tiny_clip

IMAGES = [png(seed, width=20 + seed) for seed in range(6)]
READS = [in_memory(image) for image in IMAGES]
TEXTS = ("a cat.", "a very long text about a dog and a horse.", "a bird.")
CLIP = tiny_clip()


def said_of_images(clip: Clip, count: int = 6) -> ImageFeatures:
    image_ND = image_features(clip, evaluation_pixels(clip, IMAGES[:count]), batch_size=4).numpy()
    return ImageFeatures(tuple(f"{row:08d}" for row in range(count)), image_ND, {})


def said_of_texts(clip: Clip) -> TextFeatures:
    """Tokens at full length, as a teacher with another tokenizer's habits might have written them."""
    tokens_PL = clip.tokenizer(list(TEXTS)).numpy().astype(np.int64)
    return TextFeatures(TEXTS, tokens_PL, text_features(clip, TEXTS, batch_size=4).numpy(), {})


def bank(*, batch_size: int = 2, seed: int = 1, cache_budget: CacheBudget | None = None) -> UnpairedReplay:
    return UnpairedReplay(
        CLIP,
        READS,
        said_of_images(CLIP),
        said_of_texts(CLIP),
        batch_size=batch_size,
        names=("test", seed),
        cache_budget=cache_budget or CacheBudget(),
    )


def test_every_batch_comes_with_all_texts() -> None:
    for step in range(3):
        (batch,) = bank().draw(step)
        assert len(batch.images_MCHW) == len(batch.teacher_image_MD) == 2
        assert len(batch.tokens_ML) == len(batch.teacher_text_MD) == len(batch.prompt_ids_M) == 3


def test_images_and_texts_stand_beside_their_own_teacher_features() -> None:
    (batch,) = bank(batch_size=6).draw(0)
    with torch.no_grad():
        torch.testing.assert_close(encode_images(CLIP, batch.images_MCHW), batch.teacher_image_MD)
        torch.testing.assert_close(encode_tokens(CLIP, batch.tokens_ML), batch.teacher_text_MD)
    assert torch.unique(batch.teacher_image_MD, dim=0).shape == (6, 8)  # none twice, so no row fits two images


def test_texts_are_cut_to_the_longest() -> None:
    (batch,) = bank().draw(0)
    assert CLIP.tokenizer(list(TEXTS)).shape[1] == 24
    assert batch.tokens_ML.shape[1] == 16


def test_texts_are_numbered_apart() -> None:
    (batch,) = bank().draw(0)
    assert batch.prompt_ids_M.tolist() == [0, 1, 2]


def test_every_image_comes_once_an_epoch() -> None:
    drawn = torch.cat([bank().draw(step)[0].images_MCHW for step in range(3)])
    assert len(torch.unique(drawn, dim=0)) == 6


def test_a_batch_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, again, other = (bank(seed=seed).draw(2)[0].images_MCHW for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_batches_do_not_depend_on_how_many_images_are_kept() -> None:
    for step in range(5):
        ((found,), (expected,)) = (replay.draw(step) for replay in (bank(cache_budget=CacheBudget(1000)), bank()))
        assert torch.equal(found.images_MCHW, expected.images_MCHW)
        assert torch.equal(found.teacher_image_MD, expected.teacher_image_MD)


def test_features_of_other_images_name_the_stage_to_run() -> None:
    with pytest.raises(ContractError, match=r"holds 5 images, there are 6.*stage teach"):
        UnpairedReplay(
            CLIP,
            READS,
            said_of_images(CLIP, 5),
            said_of_texts(CLIP),
            batch_size=2,
            names=("test",),
            cache_budget=CacheBudget(),
        )
