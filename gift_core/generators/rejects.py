"""Which drawn images cannot serve as replay."""

from __future__ import annotations

import numpy as np
from PIL import Image


def is_black(image: Image.Image) -> bool:
    """True when every pixel is 0: what a diffusers safety checker returns in place of an image it withholds."""
    return not np.asarray(image).any()
