"""The operations and bytes of models, against torch's own counter and published numbers."""

from __future__ import annotations

import json
from typing import Any

import open_clip
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gift_core.doctor.counting import CONTEXT, count_clip, count_pipeline, empty_clip
from gift_core.doctor.operations import known_models
from tests.imports import ROOT

MINI: dict[str, Any] = json.loads((ROOT / "data/mini/clip/open_clip_config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "config", [MINI["model_cfg"], open_clip.get_model_config("ViT-B-32")], ids=["mini", "ViT-B-32"]
)
def test_the_operations_of_a_clip_are_what_torch_counts(config: dict[str, Any]) -> None:
    found, model = count_clip(config), empty_clip(config).model
    side, context = config["vision_cfg"]["image_size"], config["text_cfg"].get("context_length", CONTEXT)
    inputs = {"image": torch.empty(1, 3, side, side), "text": torch.zeros(1, context, dtype=torch.long)}
    operations = {}
    for name, value in inputs.items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            getattr(model, f"encode_{name}")(value.to("meta"))
        operations[name] = counter.get_total_flops()
    assert (found.image, found.token * context) == pytest.approx(tuple(operations.values()))
    assert found.weights == sum(each.numel() for each in model.parameters())


def test_a_published_pipeline_has_its_parameters_and_operations_before_it_is_here() -> None:
    found = count_pipeline(known_models()["stable-diffusion-v1-5/stable-diffusion-v1-5"], 512)
    files = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480, "safety_checker": 303_981_588}
    assert found.parameters == files
    assert (found.denoiser / 1e12, found.decoder / 1e12) == pytest.approx((0.803, 2.515), rel=1e-3)
    small = count_pipeline(known_models()["IDKiro/sdxs-512-dreamshaper"], 512).parameters
    assert small == {"unet": 315_746_244, "vae": 2_445_063, "text_encoder": 123_060_480}
