"""Images that an archive keeps as arrays, as if each were a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image

from gift_core.tasks.found import Found
from gift_core.tasks.images import encode_image


def list_arrays(images: np.ndarray, labels: Sequence[str], *, file: str) -> list[Found]:
    """Returns the images [N, H, W] or [N, H, W, 3], uint8, under their labels; `file` is their place in messages."""
    return [
        Found(label, f"{file}, image {number}", partial(_png, image), image.nbytes)
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def _png(image: np.ndarray) -> bytes:
    return encode_image(Image.fromarray(image), "png")
