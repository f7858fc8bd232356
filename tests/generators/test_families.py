"""Every family of pipelines, tiny and with random weights: saved by diffusers, loaded and run by us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.filters import is_black
from tests.generators import tiny
from tests.generators.tiny import CPU, apart, levels, load

Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]
CLASSES = {
    "stable_diffusion": "StableDiffusionPipeline",
    "lcm": "LatentConsistencyModelPipeline",
    "sdxs": "StableDiffusionPipeline",
    "stable_diffusion_xl": "StableDiffusionXLPipeline",
    "pixart_alpha": "PixArtAlphaPipeline",
    "pixart_sigma": "PixArtSigmaPipeline",
    "stable_diffusion_3": "StableDiffusion3Pipeline",
    "flux": "FluxPipeline",
}
every_family = pytest.mark.parametrize("family", sorted(tiny.FAMILIES))


@every_family
def test_the_same_seed_gives_the_same_image_at_any_position_in_the_batch(
    family: str, folder_of: Folder, settings: Settings, device: torch.device
) -> None:
    pipeline = load(folder_of(family), settings, device=device)
    assert type(pipeline.pipeline).__name__ == CLASSES[family]
    first = pipeline.generate(tiny.WORDS, [7, 2, 9])
    reversed_ = pipeline.generate(tiny.WORDS[::-1], [9, 2, 7])
    assert [(image.mode, image.size) for image in first] == [("RGB", (16, 16))] * 3
    assert [apart(a, b) for a, b in zip(first, reversed_[::-1], strict=True)] == [0, 0, 0]
    alone = pipeline.generate(tiny.WORDS[1:2], [2])[0]
    assert apart(alone, first[1]) <= 2  # the batch's size moves the last bits of floats
    assert apart(alone, pipeline.generate(tiny.WORDS[1:2], [3])[0]) > 20
    assert apart(alone, pipeline.generate(tiny.WORDS[:1], [2])[0]) > 0  # the prompt matters


@every_family
def test_our_image_is_the_one_that_diffusers_generates_with_the_same_seed(
    family: str, folder_of: Folder, settings: Settings, device: torch.device
) -> None:
    from diffusers import AutoPipelineForText2Image

    theirs = AutoPipelineForText2Image.from_pretrained(folder_of(family)).to(device)
    plain = {"clean_caption": False, "use_resolution_binning": False} if family.startswith("pixart") else {}
    expected = theirs(
        tiny.WORDS[0], generator=torch.Generator("cpu").manual_seed(5), num_inference_steps=2, guidance_scale=3.0,
        height=16, width=16, **plain,
    ).images[0]  # fmt: skip
    ours = load(folder_of(family), settings, device=device).generate(tiny.WORDS[:1], [5])[0]
    assert apart(ours, expected.convert("RGB")) == 0


@pytest.mark.gpu
@every_family
def test_a_gpu_generates_the_image_of_the_cpu(
    family: str, folder_of: Folder, settings: Settings, gpu: torch.device
) -> None:
    """In float32 without TF32 only the order of sums differs. A pixel may be rounded to another level."""
    first, other = (
        load(folder_of(family), settings, device=each).generate(tiny.WORDS[:1], [5])[0] for each in (CPU, gpu)
    )
    assert apart(first, other) <= 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_image(
    dtype: str, folder_of: Folder, settings: Settings, device: torch.device
) -> None:
    full, half = (
        load(folder_of("stable_diffusion"), settings, device=device, dtype=kind) for kind in ("float32", dtype)
    )
    assert half.pipeline.unet.dtype == getattr(torch, dtype)
    first, second = (levels(pipeline.generate(tiny.WORDS[:1], [5])[0]) for pipeline in (full, half))
    assert np.abs(first - second).mean() < 12


def test_an_image_blocked_by_a_safety_checker_is_black(tmp_path: Path, folder_of: Folder, settings: Settings) -> None:
    torch.manual_seed(0)
    tiny.withheld().save_pretrained(str(tmp_path))
    assert [is_black(image) for image in load(str(tmp_path), settings).generate(tiny.WORDS, [1, 2, 3])] == [True] * 3
    assert not is_black(load(folder_of("stable_diffusion"), settings).generate(tiny.WORDS[:1], [1])[0])


def test_a_size_that_the_pipeline_does_not_support_is_an_error(tmp_path: Path, settings: Settings) -> None:
    tiny.flux(vae_blocks=4).save_pretrained(str(tmp_path))  # as in the full-size model, the VAE halves three times
    pipeline = load(str(tmp_path), settings, size=24)
    with pytest.raises(UserError, match=r"generator\.size: 24, but FluxPipeline returns images of 16x16 px"):
        pipeline.generate(tiny.WORDS[:1], [1])
    assert load(str(tmp_path), settings, size=32).generate(tiny.WORDS[:1], [1])[0].size == (32, 32)


def test_settings_that_a_running_pipeline_rejects_are_a_clear_error(folder_of: Folder, settings: Settings) -> None:
    pipeline = load(folder_of("flux"), settings, scheduler="FlowMatchHeunDiscreteScheduler")
    with pytest.raises(UserError, match=r"params\.yaml: generator: FluxPipeline rejects these settings .*sigmas"):
        pipeline.generate(tiny.WORDS[:1], [1])


def test_running_out_of_memory_names_the_settings(
    folder_of: Folder, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load(folder_of("stable_diffusion"), settings, batch_size=8)

    def full(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pipeline.pipeline.unet, "forward", full)
    with pytest.raises(UserError, match=r"ran out of memory for 8 images of 16 px at once\. Lower batch_size"):
        pipeline.generate(tiny.WORDS[:1], [1])
