"""Every family of pipelines, tiny and with random weights: saved by diffusers, loaded, set and run by us."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import load_pipeline
from tests.generators import tiny
from tests.generators.tiny import CPU, apart, load

Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]
every_family = pytest.mark.parametrize("family", sorted(tiny.FAMILIES))


@every_family
def test_the_same_seed_gives_the_same_image_at_any_position_in_the_batch(
    family: str, folder_of: Folder, settings: Settings, device: torch.device
) -> None:
    pipeline = load(folder_of(family), settings, device=device)
    saved = json.loads((Path(folder_of(family)) / "model_index.json").read_text(encoding="utf-8"))
    assert type(pipeline.pipeline).__name__ == saved["_class_name"]
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
def test_a_gpu_gives_the_cpus_image(family: str, folder_of: Folder, settings: Settings, gpu: torch.device) -> None:
    """In float32 without TF32 only the order of sums differs. A pixel may be rounded to another level."""
    first, other = (
        load(folder_of(family), settings, device=each).generate(tiny.WORDS[:1], [5])[0] for each in (CPU, gpu)
    )
    assert apart(first, other) <= 2


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


MEMORY = {"vae_slicing": False, "vae_tiling": False, "offload": "none", "attention": None}


@pytest.mark.parametrize("family", ["stable_diffusion_xl", "pixart_sigma", "stable_diffusion_3", "flux"])
def test_a_negative_prompt_changes_the_image(family: str, folder_of: Folder, settings: Settings) -> None:
    """That of Flux with true guidance alone."""
    prompt = {"text": "snowman cloud", "true_guidance": 4.0} if family == "flux" else "snowman cloud"
    plain, negated = (load(folder_of(family), settings, negative_prompt=text) for text in ("", prompt))
    assert apart(plain.generate(tiny.WORDS, [1, 2, 3])[1], negated.generate(tiny.WORDS, [1, 2, 3])[1]) > 0


def test_a_scheduler_has_its_name_and_a_text_its_limit(tmp_path: Path, settings: Settings, folder_of: Folder) -> None:
    chosen = load(folder_of("stable_diffusion"), settings, scheduler="EulerDiscreteScheduler")
    assert type(chosen.pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    schnell = tiny.make("flux")
    schnell.tokenizer_2.model_max_length = 96
    schnell.save_pretrained(str(tmp_path))
    assert load(str(tmp_path), settings).settings.fixed["max_sequence_length"] == 96
    assert "max_sequence_length" not in load(folder_of("flux"), settings).settings.fixed


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("flux", {"negative_prompt": "cloud"}, "negative_prompt: 'cloud': the guidance of FluxPipeline .*{text: 'cl"),
        ("stable_diffusion", {"scheduler": "EulerDiscretScheduler"}, "EulerDiscretSch.*Did you mean 'EulerDiscrete"),
        ("stable_diffusion_3", {"scheduler": "DDIMScheduler"}, "DDIMScheduler and FlowMatch.* define noise diff"),
        ("stable_diffusion", {"scheduler": "DPMSolverSDEScheduler"}, r"generator\.scheduler: DPMSolverSDE.* torchsde"),
        ("flux", {"memory": MEMORY | {"attention": "natve"}}, r"memory\.attention: .*natve.* one of .*native"),
        ("lcm", {"memory": MEMORY | {"offload": "model"}}, r"memory\.offload: model, but run\.device is the CPU"),
    ],
)
def test_an_unsuitable_setting_is_an_error_before_the_first_image(
    family: str, changes: dict[str, Any], message: str, folder_of: Folder, settings: Settings
) -> None:
    with pytest.raises(UserError, match=message):
        load(folder_of(family), settings, **changes)


def test_a_pipeline_that_is_not_text_to_image_is_rejected(tmp_path: Path, settings: Settings) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8, block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        norm_num_groups=2,
    )  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(str(tmp_path))
    with pytest.raises(UserError, match=r"generator\.pipeline: .* is a DDPMPipeline, whose call has no argument"):
        load_pipeline(settings(tmp_path), CPU)
