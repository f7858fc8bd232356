"""Arguments of pipeline calls and schedulers: each setting takes effect, or is an error before the first image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import load_pipeline
from gift_core.generators.sampling_settings import call_settings
from tests.generators import tiny
from tests.generators.tiny import apart, load

CPU = torch.device("cpu")
Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]
every_family = pytest.mark.parametrize("family", sorted(tiny.FAMILIES))


@every_family
def test_guidance_changes_the_image(family: str, folder_of: Folder, settings: Settings) -> None:
    weak, strong = (load(folder_of(family), settings, guidance=value) for value in (0.0, 9.0))
    assert apart(weak.generate(tiny.WORDS[:1], [5])[0], strong.generate(tiny.WORDS[:1], [5])[0]) > 0


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


def test_guidance_is_passed_as_the_right_argument(settings: Settings) -> None:
    """These pipelines are too large to build here. Only the signatures of their calls are read."""
    from diffusers import QwenImagePipeline, StableCascadeCombinedPipeline

    def arguments(kind: Any, guidance: float) -> dict[str, Any]:
        shell = type(kind.__name__, (), {"__call__": kind.__call__, "components": {}})()
        return call_settings(shell, settings("x", guidance=guidance)).arguments(2)

    assert arguments(QwenImagePipeline, 4.0)["true_cfg_scale"] == 4.0
    assert arguments(QwenImagePipeline, 4.0)["negative_prompt"] == [" ", " "]  # there is no guidance without one
    assert "negative_prompt" not in arguments(QwenImagePipeline, 1.0)
    assert arguments(StableCascadeCombinedPipeline, 4.0)["prior_guidance_scale"] == 4.0


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("lcm", {"negative_prompt": "dark"}, "negative_prompt: 'dark', but LatentConsistencyModelPipeline has no"),
        ("flux", {"negative_prompt": "cloud"}, "negative_prompt: 'cloud': the guidance of FluxPipeline .*{text: 'cl"),
        (
            "stable_diffusion",
            {"negative_prompt": {"text": "dark", "true_guidance": 2.0}},
            r"negative_prompt\.true_guidance: 2\.0, but StableDiffusionPipeline has",
        ),
        ("stable_diffusion", {"scheduler": "EulerDiscretScheduler"}, "EulerDiscretSch.*Did you mean 'EulerDiscrete"),
        ("lcm", {"steps": 60}, r"generator\.steps: LCMScheduler does not support 60 steps .*smaller than 50"),
        ("stable_diffusion_3", {"scheduler": "DDIMScheduler"}, "DDIMScheduler and FlowMatch.* define noise diff"),
        ("stable_diffusion", {"scheduler": "DPMSolverSDEScheduler"}, r"generator\.scheduler: DPMSolverSDE.* torchsde"),
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
