"""Every family of pipelines, tiny and with random weights: saved by diffusers, loaded and drawn with by us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.calls import call_settings
from gift_core.generators.pipeline import TextToImage, load_pipeline
from gift_core.generators.rejects import is_black
from tests.generators import tiny

CPU = torch.device("cpu")
Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]
CLASSES = {
    "stable_diffusion": "StableDiffusionPipeline",
    "lcm": "LatentConsistencyModelPipeline",
    "stable_diffusion_xl": "StableDiffusionXLPipeline",
    "pixart_alpha": "PixArtAlphaPipeline",
    "pixart_sigma": "PixArtSigmaPipeline",
    "stable_diffusion_3": "StableDiffusion3Pipeline",
    "flux": "FluxPipeline",
}
every_family = pytest.mark.parametrize("family", sorted(tiny.FAMILIES))


def load(folder: str, settings: Settings, **changes: Any) -> TextToImage:
    return load_pipeline(settings(folder, **changes), CPU)


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def apart(first: Image.Image, second: Image.Image) -> int:
    """The largest difference of two images in any level of any pixel."""
    return int(np.abs(levels(first) - levels(second)).max())


@every_family
def test_the_same_seed_gives_the_same_image_wherever_it_stands_in_its_batch(
    family: str, folder_of: Folder, settings: Settings
) -> None:
    drawer = load(folder_of(family), settings)
    assert type(drawer.pipeline).__name__ == CLASSES[family]
    first = drawer.draw(tiny.WORDS, [7, 2, 9])
    turned = drawer.draw(tiny.WORDS[::-1], [9, 2, 7])
    assert [(image.mode, image.size) for image in first] == [("RGB", (16, 16))] * 3
    assert [apart(a, b) for a, b in zip(first, turned[::-1], strict=True)] == [0, 0, 0]
    alone = drawer.draw(tiny.WORDS[1:2], [2])[0]
    assert apart(alone, first[1]) <= 2  # the batch's size moves the last bits of floats
    assert apart(alone, drawer.draw(tiny.WORDS[1:2], [3])[0]) > 20
    assert apart(alone, drawer.draw(tiny.WORDS[:1], [2])[0]) > 0  # the prompt counts


@every_family
def test_our_image_is_the_one_that_diffusers_draws_with_the_same_seed(
    family: str, folder_of: Folder, settings: Settings
) -> None:
    from diffusers import AutoPipelineForText2Image

    theirs = AutoPipelineForText2Image.from_pretrained(folder_of(family))
    plain = {"clean_caption": False, "use_resolution_binning": False} if family.startswith("pixart") else {}
    expected = theirs(
        tiny.WORDS[0], generator=torch.Generator("cpu").manual_seed(5), num_inference_steps=2, guidance_scale=3.0,
        height=16, width=16, **plain,
    ).images[0]  # fmt: skip
    assert apart(load(folder_of(family), settings).draw(tiny.WORDS[:1], [5])[0], expected.convert("RGB")) == 0


@every_family
def test_guidance_changes_the_image(family: str, folder_of: Folder, settings: Settings) -> None:
    weak, strong = (load(folder_of(family), settings, guidance=value) for value in (0.0, 9.0))
    assert apart(weak.draw(tiny.WORDS[:1], [5])[0], strong.draw(tiny.WORDS[:1], [5])[0]) > 0


@pytest.mark.parametrize("family", ["stable_diffusion", "stable_diffusion_xl", "pixart_sigma", "stable_diffusion_3"])
def test_a_negative_prompt_changes_the_image(family: str, folder_of: Folder, settings: Settings) -> None:
    plain, told = (load(folder_of(family), settings, negative_prompt=text) for text in ("", "snowman cloud"))
    assert apart(plain.draw(tiny.WORDS, [1, 2, 3])[1], told.draw(tiny.WORDS, [1, 2, 3])[1]) > 0


def test_a_pipeline_without_negative_prompts_says_so_before_it_draws(folder_of: Folder, settings: Settings) -> None:
    with pytest.raises(UserError, match=r"negative_prompt: 'dark', but LatentConsistencyModelPipeline takes no"):
        load(folder_of("lcm"), settings, negative_prompt="dark")


def test_flux_heeds_a_negative_prompt_only_beside_true_guidance(folder_of: Folder, settings: Settings) -> None:
    with pytest.raises(UserError, match=r"negative_prompt: 'cloud': FluxPipeline .*{text: 'cloud', true_guidance: 2"):
        load(folder_of("flux"), settings, negative_prompt="cloud")
    plain = load(folder_of("flux"), settings)
    true = load(folder_of("flux"), settings, negative_prompt={"text": "cloud", "true_guidance": 4.0})
    assert apart(plain.draw(tiny.WORDS[:1], [5])[0], true.draw(tiny.WORDS[:1], [5])[0]) > 0


def test_true_guidance_is_refused_where_guidance_is_true_already(folder_of: Folder, settings: Settings) -> None:
    with pytest.raises(UserError, match=r"negative_prompt\.true_guidance: 2\.0, but StableDiffusionPipeline takes"):
        load(folder_of("stable_diffusion"), settings, negative_prompt={"text": "dark", "true_guidance": 2.0})


def test_a_tokenizer_that_takes_fewer_tokens_than_the_call_shortens_the_texts(
    tmp_path: Path, settings: Settings, folder_of: Folder
) -> None:
    schnell = tiny.make("flux")
    schnell.tokenizer_2.model_max_length = 96
    schnell.save_pretrained(str(tmp_path))
    assert load(str(tmp_path), settings).settings.fixed["max_sequence_length"] == 96
    assert "max_sequence_length" not in load(folder_of("flux"), settings).settings.fixed


def test_guidance_reaches_the_parameter_that_steers(settings: Settings) -> None:
    """Of pipelines too large to make here; only the signatures of their calls are read."""
    from diffusers import QwenImagePipeline, StableCascadeCombinedPipeline

    def arguments(kind: Any, guidance: float) -> dict[str, Any]:
        shell = type(kind.__name__, (), {"__call__": kind.__call__, "components": {}})()
        return call_settings(shell, settings("x", guidance=guidance)).arguments(2)

    assert arguments(QwenImagePipeline, 4.0)["true_cfg_scale"] == 4.0
    assert arguments(QwenImagePipeline, 4.0)["negative_prompt"] == [" ", " "]  # without one nothing guides it
    assert "negative_prompt" not in arguments(QwenImagePipeline, 1.0)
    assert arguments(StableCascadeCombinedPipeline, 4.0)["prior_guidance_scale"] == 4.0


def test_stable_diffusion_draws_in_few_steps_with_the_lcm_scheduler(folder_of: Folder, settings: Settings) -> None:
    drawer = load(folder_of("stable_diffusion"), settings, scheduler="LCMScheduler", steps=4, guidance=1.0)
    first, again = (drawer.draw(tiny.WORDS, [1, 2, 3])[1] for _ in range(2))
    assert apart(first, again) == 0  # its noise between the steps is seeded too
    assert apart(first, drawer.draw(tiny.WORDS[1:2], [2])[0]) <= 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_draws_nearly_the_same_image(dtype: str, folder_of: Folder, settings: Settings) -> None:
    full, half = (load(folder_of("stable_diffusion"), settings, dtype=kind) for kind in ("float32", dtype))
    assert half.pipeline.unet.dtype == getattr(torch, dtype)
    first, second = (levels(drawer.draw(tiny.WORDS[:1], [5])[0]) for drawer in (full, half))
    assert np.abs(first - second).mean() < 12


def test_what_a_safety_checker_withholds_is_black(tmp_path: Path, folder_of: Folder, settings: Settings) -> None:
    torch.manual_seed(0)
    tiny.withheld().save_pretrained(str(tmp_path))
    assert [is_black(image) for image in load(str(tmp_path), settings).draw(tiny.WORDS, [1, 2, 3])] == [True] * 3
    assert not is_black(load(folder_of("stable_diffusion"), settings).draw(tiny.WORDS[:1], [1])[0])


def test_a_size_that_the_pipeline_cannot_draw_is_named(tmp_path: Path, settings: Settings) -> None:
    tiny.flux(vae_blocks=4).save_pretrained(str(tmp_path))  # as of full size: the VAE halves three times
    drawer = load(str(tmp_path), settings, size=24)
    with pytest.raises(UserError, match=r"generator\.size: 24, but FluxPipeline draws 16x16 px then"):
        drawer.draw(tiny.WORDS[:1], [1])
    assert load(str(tmp_path), settings, size=32).draw(tiny.WORDS[:1], [1])[0].size == (32, 32)


def test_what_a_pipeline_refuses_while_it_draws_is_a_clear_error(folder_of: Folder, settings: Settings) -> None:
    drawer = load(folder_of("flux"), settings, scheduler="FlowMatchHeunDiscreteScheduler")
    with pytest.raises(UserError, match=r"params\.yaml: generator: FluxPipeline refuses these settings .*sigmas"):
        drawer.draw(tiny.WORDS[:1], [1])


def test_a_full_device_names_the_knobs(folder_of: Folder, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    drawer = load(folder_of("stable_diffusion"), settings, batch_size=8)

    def full(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(drawer.pipeline.unet, "forward", full)
    with pytest.raises(UserError, match=r"does not suffice for 8 images of 16 px at once\. Lower batch_size"):
        drawer.draw(tiny.WORDS[:1], [1])
