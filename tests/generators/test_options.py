"""Schedulers, memory savers, LoRA, and folders that are not as expected: each does what it says, or says why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import load_pipeline
from tests.generators import tiny

CPU = torch.device("cpu")
Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]
MEMORY = {"vae_slicing": False, "vae_tiling": False, "offload": "none", "attention": None}


def drawn(config: GeneratorConfig) -> np.ndarray:
    """One image's levels."""
    return np.asarray(load_pipeline(config, CPU).draw(tiny.WORDS[:1], [5])[0]).astype(int)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("lcm", {"steps": 60}, r"generator\.steps: LCMScheduler cannot take 60 steps .*smaller than 50"),
        ("stable_diffusion", {"steps": 1001}, r"generator\.steps: DDIMScheduler cannot take 1001 steps"),
        (
            "stable_diffusion_3",
            {"scheduler": "DDIMScheduler"},
            r"scheduler: DDIMScheduler removes noise in another way",
        ),
        ("stable_diffusion", {"scheduler": "FlowMatchEulerDiscreteScheduler"}, r"removes noise in another way"),
        ("stable_diffusion", {"scheduler": "DPMSolverSDEScheduler"}, r"generator\.scheduler: DPMSolverSDE.* torchsde"),
    ],
)
def test_a_scheduler_that_cannot_do_it_is_met_before_the_first_image(
    family: str, changes: dict[str, Any], message: str, folder_of: Folder, settings: Settings
) -> None:
    with pytest.raises(UserError, match=message):
        load_pipeline(settings(folder_of(family), **changes), CPU)


def test_slicing_the_vae_leaves_the_image_as_it_is(folder_of: Folder, settings: Settings) -> None:
    plain = settings(folder_of("stable_diffusion"))
    sliced = settings(folder_of("stable_diffusion"), memory={**MEMORY, "vae_slicing": True})
    assert load_pipeline(sliced, CPU).pipeline.vae.use_slicing
    assert np.abs(drawn(plain) - drawn(sliced)).max() <= 2


def test_tiling_is_switched_on(folder_of: Folder, settings: Settings) -> None:
    tiled = settings(folder_of("stable_diffusion"), memory={**MEMORY, "vae_tiling": True})
    assert load_pipeline(tiled, CPU).pipeline.vae.use_tiling


def test_an_attention_backend_is_set_where_the_model_lets_it_be_chosen(folder_of: Folder, settings: Settings) -> None:
    chosen = settings(folder_of("flux"), memory={**MEMORY, "attention": "_native_math"})
    transformer = load_pipeline(chosen, CPU).pipeline.transformer
    backends = {layer.processor._attention_backend for layer in transformer.modules() if hasattr(layer, "processor")}
    assert {backend.value for backend in backends} == {"_native_math"}
    assert np.abs(drawn(chosen) - drawn(settings(folder_of("flux")))).max() <= 2


@pytest.mark.parametrize(
    ("family", "backend", "message"),
    [
        ("flux", "natve", r"memory\.attention: unknown backend 'natve'\. Did you mean 'native'\?"),
        ("flux", "flash", r"memory\.attention: Flash Attention backend 'flash' is not usable"),
        ("stable_diffusion", "native", r"memory\.attention: native, but no part of StableDiffusionPipeline lets"),
    ],
)
def test_an_attention_backend_that_cannot_be_set_is_refused(
    family: str, backend: str, message: str, folder_of: Folder, settings: Settings
) -> None:
    with pytest.raises(UserError, match=message):
        load_pipeline(settings(folder_of(family), memory={**MEMORY, "attention": backend}), CPU)


def test_offloading_needs_a_gpu(folder_of: Folder, settings: Settings) -> None:
    with pytest.raises(UserError, match=r"memory\.offload: model, but all is on the CPU already"):
        load_pipeline(settings(folder_of("stable_diffusion"), memory={**MEMORY, "offload": "model"}), CPU)


def test_offloading_without_its_package_names_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gift_core.generators.memory.find_spec", lambda name: None)
    config = settings("nowhere", memory={**MEMORY, "offload": "sequential"})
    with pytest.raises(UserError, match=r"memory\.offload: needs a package more: pip install accelerate"):
        load_pipeline(config, torch.device("cuda"))


def test_a_folder_with_half_precision_files_alone_is_loaded(
    tmp_path: Path, folder_of: Folder, settings: Settings
) -> None:
    from diffusers import DiffusionPipeline

    whole = DiffusionPipeline.from_pretrained(folder_of("pixart_sigma"), dtype=torch.float16)
    whole.save_pretrained(str(tmp_path), variant="fp16")
    assert all("fp16" in file.name for file in tmp_path.rglob("*.safetensors"))
    expected = drawn(settings(folder_of("pixart_sigma")))
    assert np.abs(drawn(settings(tmp_path)) - expected).mean() < 12  # weights rounded to half precision


def test_a_tokenizer_without_its_files_is_refused(tmp_path: Path, folder_of: Folder, settings: Settings) -> None:
    shutil.copytree(folder_of("pixart_sigma"), tmp_path / "bare")
    (tmp_path / "bare/tokenizer/tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"its tokenizer tells no two prompts apart, so its files are missing"):
        load_pipeline(settings(tmp_path / "bare"), CPU)


def test_a_missing_package_is_named(folder_of: Folder, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import AutoPipelineForText2Image

    def fail(*arguments: object, **options: object) -> None:
        raise ImportError("T5Converter requires the SentencePiece library but it was not found")

    monkeypatch.setattr(AutoPipelineForText2Image, "from_pretrained", fail)
    with pytest.raises(UserError, match=r"cannot be loaded .*It needs a package more: pip install sentencepiece prot"):
        load_pipeline(settings(folder_of("pixart_sigma")), CPU)


def test_a_pipeline_of_another_kind_is_refused(tmp_path: Path, settings: Settings) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8, block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        norm_num_groups=2,
    )  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(str(tmp_path))
    with pytest.raises(UserError, match=r"generator\.pipeline: .* is a DDPMPipeline, whose call takes no prompt"):
        load_pipeline(settings(tmp_path), CPU)
