"""The number of operations at full size, compared with sums by hand."""

from __future__ import annotations

import pytest
import torch

from benchmarks.smoke.sizes import CUT
from benchmarks.smoke.work import TERA, operations, parts, totals


def test_a_product_and_its_sum_are_two_operations() -> None:
    assert operations(lambda: torch.empty(3, 5) @ torch.empty(5, 7)) == 2 * 3 * 5 * 7 / TERA


def test_the_image_tower_is_its_patches_layers_and_projection() -> None:
    tokens, width, layers = 14 * 14 + 1, 128, 2
    layer = 12 * tokens * width**2 + 2 * tokens**2 * width  # projections and MLP; scores and mixing of attention
    products = 14 * 14 * (3 * 16**2) * width + layers * layer + width * 64
    assert parts(CUT)["image tower"] == pytest.approx(2 * products / TERA, rel=1e-6)


def test_guidance_runs_the_unet_twice_a_step_and_training_costs_three_passes() -> None:
    part = {"UNet": 2.0, "decoder": 3.0, "image tower": 0.5, "text tower": 0.25}
    assert totals(part) == {
        "an image, 50 steps": 2 * 50 * 2.0 + 3.0,
        "an iteration of finetune": 3 * (64 * 0.5 + 100 * 0.25),
        "an iteration of gift": 3 * (128 * 0.5 + 164 * 0.25),
    }
