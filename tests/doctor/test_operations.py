"""The operations of models: the formulas and the table against torch's counter."""

from __future__ import annotations

import copy
import json
from typing import Any

import open_clip
import pytest

from benchmarks.smoke.sizes import FULL
from gift_core.doctor.operations import COUNTED_CLIPS, COUNTED_PIPELINES, count_clip, count_pipeline, count_transformers
from tests.imports import ROOT

TINY: dict[str, Any] = {
    "embed_dim": 3,
    "vision_cfg": {"layers": 2, "width": 64, "head_width": 64, "image_size": 8, "patch_size": 4},
    "text_cfg": {"layers": 1, "width": 8, "heads": 2, "context_length": 5, "vocab_size": 11},
}


def config_of(part: str) -> Any:
    return json.loads((ROOT / "data/mini" / part).read_text(encoding="utf-8"))


@pytest.mark.parametrize("config", [TINY, open_clip.get_model_config("ViT-B-32")], ids=["tiny", "ViT-B-32"])
def test_the_formula_is_what_torch_counts(config: dict[str, Any]) -> None:
    formula, counted = count_transformers(config), count_clip(copy.deepcopy(config))
    assert (formula.image, formula.token) == pytest.approx((counted.image, counted.token))
    assert formula.weights == pytest.approx(counted.weights, rel=0.06)  # biases, norms, positions


def test_the_table_holds_what_torch_counts() -> None:
    clip = count_clip(config_of("clip/open_clip_config.json")["model_cfg"])
    assert COUNTED_CLIPS["local-dir:data/mini/clip"] == clip
    small = count_pipeline(config_of("diffusion/unet/config.json"), config_of("diffusion/vae/config.json"))
    assert COUNTED_PIPELINES["data/mini/diffusion"] == small
    large = COUNTED_PIPELINES["stable-diffusion-v1-5/stable-diffusion-v1-5"]
    assert count_pipeline(FULL.unet, FULL.autoencoder) == large
    assert (large.denoiser.of(512) / 1e12, large.decoder.of(512) / 1e12) == pytest.approx((0.803, 2.515), rel=1e-3)
