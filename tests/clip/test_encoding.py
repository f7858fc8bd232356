"""Pixels equal those of open_clip's transform, cached or not; images and texts become unit features."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from open_clip.constants import INCEPTION_MEAN, INCEPTION_STD, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CustomTextCLIP
from open_clip.transform import image_transform
from torchvision.transforms import Compose

from gift_core.clip.encoding import class_features, encode_images, encode_tokens, text_features, tokenize, trim_rows
from gift_core.clip.images import (
    CacheBudget,
    PixelCache,
    decode,
    evaluation_pixels,
    evaluation_preparation,
    in_memory,
    normalize,
)
from gift_core.errors import UserError
from tests.artifacts.damage import encoded
from tests.clip.tiny import CONTEXT, picture, png, tiny_clip, tiny_config

IMAGES = [png(seed, width=20 + seed) for seed in range(9)]
TEXTS = ["a photo of a cat.", "a photo of a very old and quite enormous black chess knight on a board."]


@pytest.mark.parametrize("own_text_tower", [False, True])
def test_short_rows_give_the_features_and_gradients_of_full_rows(own_text_tower: bool) -> None:
    clip = tiny_clip()
    if own_text_tower:
        clip = dataclasses.replace(clip, model=CustomTextCLIP(**tiny_config()["model_cfg"]).eval())
    assert tokenize(clip, ["a cat"]).shape == (1, 16)  # no shorter
    full_NL = clip.tokenizer(TEXTS)
    short_NL = trim_rows(clip.model, full_NL)
    assert (full_NL.shape[1], short_NL.shape[1]) == (CONTEXT, 18)  # start, 16 tokens, end
    (position,) = (value for name, value in clip.model.named_parameters() if name.endswith("positional_embedding")
                   and not name.startswith("visual"))  # fmt: skip
    full, short = clip.model.encode_text(full_NL, normalize=True), encode_tokens(clip, short_NL)
    torch.testing.assert_close(short, full, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(features.pow(3).sum(), position)[0] for features in (full, short)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({"no_causal_mask": True}, CONTEXT),
        ({"pool_type": "last"}, CONTEXT),
        ({"embed_cls": True}, CONTEXT),
        ({"pool_type": "eos", "eos_id": 49407}, 18),
    ],
)
def test_rows_stay_full_where_later_tokens_matter(changes: dict[str, object], length: int) -> None:
    config = tiny_config()["model_cfg"]
    config["text_cfg"] |= changes
    assert trim_rows(CustomTextCLIP(**config), tiny_clip().tokenizer(TEXTS)).shape[1] == length


@pytest.mark.parametrize(("precision", "dtype"), [("amp_bf16", torch.bfloat16), ("amp_fp16", torch.float16)])
def test_autocast_gives_nearly_the_same_float32_unit_features(precision: str, dtype: torch.dtype) -> None:
    clip, seen = tiny_clip(precision=precision), set()
    for tower in (clip.model.visual.transformer, clip.model.transformer):
        for block in tower.resblocks:
            block.mlp.c_fc.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    images_BCHW, tokens_NL = torch.randn(2, 3, 16, 16), tokenize(clip, TEXTS)
    found = encode_images(clip, images_BCHW), encode_tokens(clip, tokens_NL)
    assert seen == {dtype}
    exact = encode_images(tiny_clip(), images_BCHW), encode_tokens(tiny_clip(), tokens_NL)
    for fast, features in zip(found, exact, strict=True):
        assert fast.dtype == torch.float32
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))
        torch.testing.assert_close(fast, features, rtol=0, atol=2e-2)


def test_a_class_is_the_normalized_mean_of_its_unit_template_features() -> None:
    clip = tiny_clip()
    names, templates = ["cat", "dog"], ["a photo of a {}.", "{} art", "the {}"]
    class_KD = class_features(clip, names, templates, batch_size=4)
    for row, name in enumerate(names):
        prompts_ND = text_features(clip, [template.format(name) for template in templates], batch_size=100)
        mean_D = (prompts_ND[0] + prompts_ND[1] + prompts_ND[2]) / 3
        torch.testing.assert_close(class_KD[row], mean_D / mean_D.norm())


def test_class_names_that_only_differ_where_the_tokenizer_does_not_look_are_refused() -> None:
    """That they may differ after the context only: tests/library/test_refusals.py."""
    with pytest.raises(UserError, match=r"have the same tokens, so classes 0 and 2 are the same to the model\."):
        class_features(tiny_clip(), ["Cat", "dog", "cat"], ["a {}.", "the {}."], batch_size=4)


CLIP = tiny_clip()
PREPARE = evaluation_preparation(CLIP)
EACH = 3 * 16 * 16  # bytes of one of them, decoded


OPENAI = {"resize_mode": "shortest", "interpolation": "bicubic", "mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD}
SIGLIP = {"resize_mode": "squash", "interpolation": "bicubic", "mean": INCEPTION_MEAN, "std": INCEPTION_STD}
PREPROCESSINGS: dict[str, dict[str, Any]] = {
    "OpenAI": OPENAI,
    "OpenAI, bilinear": OPENAI | {"interpolation": "bilinear"},
    "SigLIP": SIGLIP,
    "SigLIP, bilinear": SIGLIP | {"interpolation": "bilinear"},
    "padded": OPENAI | {"resize_mode": "longest"},
    "padded in gray": OPENAI | {"resize_mode": "longest", "fill_color": 127},
}


@pytest.mark.parametrize("side", [16, 31])
@pytest.mark.parametrize("name", sorted(PREPROCESSINGS))
def test_pixels_are_bit_identical_to_open_clips_own_transform(name: str, side: int) -> None:
    """Compared with the way through floats: open_clip's image_transform up to the normalization, times 255."""
    settings = PREPROCESSINGS[name] | {"size": [side, side]}
    clip = dataclasses.replace(CLIP, config=CLIP.config | {"preprocess_cfg": CLIP.config["preprocess_cfg"] | settings})
    theirs = image_transform(side, is_train=False, **PREPROCESSINGS[name])
    sizes = [(16, 16), (31, 31), (40, 23), (19, 61), (7, 9), (200, 64), (2, 50), (63, 64)]
    levels = [picture(seed, width=width, height=height) for seed, (width, height) in enumerate(sizes)]
    pictures = [encoded(image.convert(mode)) for mode in ("RGB", "L", "P", "RGBA") for image in levels]
    floats = [Compose(theirs.transforms[:-1])(decode(image)) for image in pictures]
    expected = torch.stack([(values * 255).round().to(torch.uint8) for values in floats])
    found = evaluation_pixels(clip, pictures)
    assert torch.equal(found, expected)
    assert torch.equal(normalize(clip, found), torch.stack([theirs(decode(image)) for image in pictures]))
    assert evaluation_pixels(clip, []).shape == (0, 3, side, side)


@pytest.mark.parametrize("room", [0, 4, 9])
def test_the_cache_changes_no_pixel_and_reads_a_cached_image_once_and_any_other_once_a_batch(room: int) -> None:
    reads = [Mock(return_value=image) for image in IMAGES]
    cache = PixelCache(reads, PREPARE, CacheBudget(room * EACH + 5))
    expected = evaluation_pixels(CLIP, IMAGES)
    for numbers in ([0, 8, 3, 3, 1], [8, 2, 4, 0, 7], [5, 6, 1], [0, 0, 5, 6]):
        assert torch.equal(torch.stack(cache.fetch(numbers)), expected[numbers])
    assert len(cache._cached) == room
    assert [read.call_count for read in reads] == {
        0: [3, 2, 1, 1, 1, 2, 2, 1, 2],
        4: [1, 1, 1, 1, 1, 2, 2, 1, 1],  # 0, 8, 3 and 1 are cached
        9: [1] * 9,
    }[room]


def test_caches_share_a_budget() -> None:
    cache_budget = CacheBudget(3 * EACH)
    caches = [PixelCache([in_memory(image) for image in IMAGES], PREPARE, cache_budget) for _ in range(2)]
    for cache in caches:
        cache.fetch([0, 1])
    assert [len(cache._cached) for cache in caches] == [2, 1]
