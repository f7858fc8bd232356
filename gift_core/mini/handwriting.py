"""The digits task: real handwriting (scikit-learn's 8x8 digits), split once and for all."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TEST_PER_DIGIT = 50
TRAIN_PER_DIGIT = 124
"""The rarest digit has 174 pictures: 50 + 124."""
PER_DIGIT = {"train": TRAIN_PER_DIGIT, "test": TEST_PER_DIGIT}


@cache
def _split_pixels(split: str) -> NDArray[np.uint8]:
    """uint8 [10, per digit, 8, 8], digit by digit; the first 50 of each digit in the data set's order are the test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rows = slice(0, TEST_PER_DIGIT) if split == "test" else slice(TEST_PER_DIGIT, TEST_PER_DIGIT + TRAIN_PER_DIGIT)
    pictures = [bunch.images[bunch.target == digit][rows] for digit in range(10)]
    return np.rint(np.stack(pictures) * (255 / 16)).astype(np.uint8)


def handwritten(digit: int, index: int, split: str) -> Image.Image:
    """The index-th picture of a digit: RGB 32x32, light on black, as scanned (8x8) and enlarged."""
    small = Image.fromarray(_split_pixels(split)[digit, index])
    canvas = Image.new("L", (32, 32))
    canvas.paste(small.resize((28, 28), Image.Resampling.BICUBIC), (2, 2))
    return canvas.convert("RGB")
