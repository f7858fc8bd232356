"""The miniature task of image-caption pairs: a symbol in a color on a colored ground, in the light of a lamp, in words.

No scene (symbol, color, ground) is in both splits, so a test caption has never been trained on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from gift_core.artifacts.task import SPLITS, Captions
from gift_core.mini.rendering import glyphs_of, gradient, legible_pairs, paint, place, shade, to_image
from gift_core.mini.textures import noisy
from gift_core.mini.world import OBLIQUE, pick_mask
from gift_core.seeds import seed_for

SCENES = "scenes"  # the name of the task
CAPTIONS = (
    "a photo of a {ink} {symbol} on a {ground} background.",
    "against {ground}, the {symbol} is {ink}.",
)
TEST_SHARE = 4  # one of four scenes is for testing


def render_scenes(split: str, count: int, *, seed: int) -> Iterator[tuple[Image.Image, Captions]]:
    """Yields `count` pictures (RGB 32x32) with two captions each. A smaller count gives the first of a larger one."""
    for index in range(count):
        random = np.random.default_rng([seed, zlib.crc32(SCENES.encode()), SPLITS.index(split), index])
        ink, ground, symbol = _scene(split, index, seed)
        glyph = glyphs_of("base")[symbol]
        mask = place(pick_mask(glyph, OBLIQUE, random), random, zoom=0.3)
        other = shade(ground, random, spread=40.0)
        picture = paint(mask, shade(ink, random, spread=40.0), gradient(shade(ground, random), other, random))
        lamp = random.uniform(0.5, 1.1, 3).astype(np.float32)
        captions = tuple(each.format(ink=ink, ground=ground, symbol=glyph.name) for each in CAPTIONS)
        yield to_image(noisy(picture * lamp, random, strength=45)), captions


def _scene(split: str, index: int, seed: int) -> tuple[str, str, int]:
    """The color of the symbol, that of its ground, and the number of the symbol. They repeat when all have been."""
    pairs, symbols = legible_pairs(), len(glyphs_of("base"))
    order = np.random.default_rng(seed_for("scenes", seed)).permutation(len(pairs) * symbols)
    test = len(order) // TEST_SHARE
    own = order[:test] if split == "test" else order[test:]
    pair, symbol = divmod(int(own[index % len(own)]), symbols)
    return *pairs[pair], symbol
