"""The number of operations at full size, compared with sums by hand."""

from __future__ import annotations

import pytest

from benchmarks.smoke.sizes import CUT
from benchmarks.smoke.work import TERA, parts


def test_the_image_tower_is_its_patches_layers_and_projection() -> None:
    tokens, width, layers = 14 * 14 + 1, 128, 2
    layer = 12 * tokens * width**2 + 2 * tokens**2 * width  # projections and MLP; scores and mixing of attention
    products = 14 * 14 * (3 * 16**2) * width + layers * layer + width * 64
    assert parts(CUT)["image tower"] == pytest.approx(2 * products / TERA, rel=1e-6)
