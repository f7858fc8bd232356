"""What generator.memory sets in a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import load_pipeline
from tests.generators import tiny
from tests.generators.tiny import apart, first_image

CPU = torch.device("cpu")
Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]
MEMORY = {"vae_slicing": False, "vae_tiling": False, "offload": "none", "attention": None}


@pytest.mark.parametrize(
    ("family", "name"),
    [("stable_diffusion", "vae_slicing"), ("stable_diffusion", "vae_tiling"), ("sdxs", "vae_slicing")],
)
def test_a_memory_saver_of_the_vae_is_switched_on_and_leaves_the_images_as_they_are(
    family: str, name: str, folder_of: Folder, settings: Settings
) -> None:
    plain, saving = (
        load_pipeline(settings(folder_of(family), memory={**MEMORY, name: on}), CPU) for on in (False, True)
    )
    assert getattr(saving.pipeline.vae, f"use_{name.removeprefix('vae_')}")
    images = (each.generate(tiny.WORDS, [1, 2, 3]) for each in (plain, saving))
    assert max(apart(*pair) for pair in zip(*images, strict=True)) <= 2


def test_an_attention_backend_is_set_on_a_model_that_supports_it(folder_of: Folder, settings: Settings) -> None:
    chosen = settings(folder_of("flux"), memory={**MEMORY, "attention": "_native_math"})
    transformer = load_pipeline(chosen, CPU).pipeline.transformer
    backends = {layer.processor._attention_backend for layer in transformer.modules() if hasattr(layer, "processor")}
    assert {backend.value for backend in backends} == {"_native_math"}
    assert np.abs(first_image(chosen) - first_image(settings(folder_of("flux")))).max() <= 2


@pytest.mark.parametrize(
    ("family", "memory", "message"),
    [
        ("flux", {"attention": "natve"}, r"attention: unknown backend 'natve'\. Did you mean 'native'\?"),
        ("flux", {"attention": "flash"}, r"attention: Flash Attention backend 'flash' is not usable"),
        ("stable_diffusion", {"attention": "native"}, r"attention: native, but no part of StableDiffusionPipeline"),
        ("stable_diffusion", {"offload": "model"}, r"offload: model, but run\.device is the CPU"),
    ],
)
def test_what_cannot_be_set_is_refused(
    family: str, memory: dict[str, Any], message: str, folder_of: Folder, settings: Settings
) -> None:
    with pytest.raises(UserError, match=rf"memory\.{message}"):
        load_pipeline(settings(folder_of(family), memory=MEMORY | memory), CPU)


def test_offloading_without_its_package_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gift_core.generators.pipeline.find_spec", lambda name: None)
    config = settings("nowhere", memory={**MEMORY, "offload": "sequential"})
    with pytest.raises(UserError, match=r"memory\.offload: needs another package: pip install accelerate"):
        load_pipeline(config, torch.device("cuda"))
