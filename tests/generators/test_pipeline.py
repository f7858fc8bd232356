"""Seeded batches of the real miniature pipeline, and the memory savers of tiny ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import TextToImage, load_pipeline
from tests.generators.tiny import first_image

CPU = torch.device("cpu")
Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]
PROMPTS = ["a photo of a red snowman.", "a photo of a anchor.", "a photo of a cloud."]
MEMORY = {"vae_slicing": False, "vae_tiling": False, "offload": "none", "attention": None}


@pytest.fixture(scope="module")
def text_to_image(project: Path, _mini_params: dict[str, Any]) -> TextToImage:
    section = {**_mini_params["generator"], "steps": 2, "pipeline": str(project / "data/mini/diffusion")}
    return load_pipeline(GeneratorConfig(**section), CPU)


def test_a_batch_has_one_rgb_image_per_prompt_of_the_configured_size(text_to_image: TextToImage) -> None:
    images = text_to_image.generate(PROMPTS, [1, 2, 3])
    assert [(image.mode, image.size) for image in images] == [("RGB", (32, 32))] * 3


def test_an_image_depends_on_its_own_seed_and_not_on_the_rest_of_the_batch(text_to_image: TextToImage) -> None:
    alone = text_to_image.generate(PROMPTS[1:2], [2])[0]
    among_others = text_to_image.generate(PROMPTS, [7, 2, 9])[1]
    other_seed = text_to_image.generate(PROMPTS[1:2], [3])[0]
    difference = np.abs(np.asarray(alone, dtype=int) - np.asarray(among_others, dtype=int))
    assert difference.max() <= 2  # the batch's size moves the last bits of floats
    assert np.abs(np.asarray(alone, dtype=int) - np.asarray(other_seed, dtype=int)).max() > 20


def test_slicing_the_vae_leaves_the_image_as_it_is(folder_of: Folder, settings: Settings) -> None:
    plain = settings(folder_of("stable_diffusion"))
    sliced = settings(folder_of("stable_diffusion"), memory={**MEMORY, "vae_slicing": True})
    assert load_pipeline(sliced, CPU).pipeline.vae.use_slicing
    assert np.abs(first_image(plain) - first_image(sliced)).max() <= 2


def test_tiling_is_switched_on(folder_of: Folder, settings: Settings) -> None:
    tiled = settings(folder_of("stable_diffusion"), memory={**MEMORY, "vae_tiling": True})
    assert load_pipeline(tiled, CPU).pipeline.vae.use_tiling


def test_an_attention_backend_is_set_on_a_model_that_supports_it(folder_of: Folder, settings: Settings) -> None:
    chosen = settings(folder_of("flux"), memory={**MEMORY, "attention": "_native_math"})
    transformer = load_pipeline(chosen, CPU).pipeline.transformer
    backends = {layer.processor._attention_backend for layer in transformer.modules() if hasattr(layer, "processor")}
    assert {backend.value for backend in backends} == {"_native_math"}
    assert np.abs(first_image(chosen) - first_image(settings(folder_of("flux")))).max() <= 2


@pytest.mark.parametrize(
    ("family", "backend", "message"),
    [
        ("flux", "natve", r"memory\.attention: unknown backend 'natve'\. Did you mean 'native'\?"),
        ("flux", "flash", r"memory\.attention: Flash Attention backend 'flash' is not usable"),
        ("stable_diffusion", "native", r"memory\.attention: native, but no part of StableDiffusionPipeline supports"),
    ],
)
def test_an_attention_backend_that_cannot_be_set_is_refused(
    family: str, backend: str, message: str, folder_of: Folder, settings: Settings
) -> None:
    with pytest.raises(UserError, match=message):
        load_pipeline(settings(folder_of(family), memory={**MEMORY, "attention": backend}), CPU)


def test_offloading_needs_a_gpu(folder_of: Folder, settings: Settings) -> None:
    with pytest.raises(UserError, match=r"memory\.offload: model, but run\.device is the CPU"):
        load_pipeline(settings(folder_of("stable_diffusion"), memory={**MEMORY, "offload": "model"}), CPU)


def test_offloading_without_its_package_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gift_core.generators.pipeline.find_spec", lambda name: None)
    config = settings("nowhere", memory={**MEMORY, "offload": "sequential"})
    with pytest.raises(UserError, match=r"memory\.offload: needs another package: pip install accelerate"):
        load_pipeline(config, torch.device("cuda"))
