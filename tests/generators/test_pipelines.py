"""Every family of pipelines, tiny and with random weights: saved by diffusers, loaded, set and run by us.

And LoRAs, and what cannot be loaded.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gift_core.config.experiment import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.cut_prompts import warn_of_cut
from gift_core.generators.pipeline import load_pipeline
from stages.stage import logged_to
from tests.generators.conftest import CPU, FAMILIES, WORDS, apart, first_image, make

Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]
every_family = pytest.mark.parametrize("family", FAMILIES)


@every_family
def test_the_same_seed_gives_the_same_image_at_any_position_in_the_batch(
    family: str, folder_of: Folder, settings: Settings, device: torch.device
) -> None:
    pipeline = load_pipeline(settings(folder_of(family)), device)
    saved = json.loads((Path(folder_of(family)) / "model_index.json").read_text(encoding="utf-8"))
    assert type(pipeline.pipeline).__name__ == saved["_class_name"]
    first = pipeline.generate(WORDS, [7, 2, 9])
    reversed_ = pipeline.generate(WORDS[::-1], [9, 2, 7])
    assert [(image.mode, image.size) for image in first] == [("RGB", (16, 16))] * 3
    assert [apart(a, b) for a, b in zip(first, reversed_[::-1], strict=True)] == [0, 0, 0]
    alone = pipeline.generate(WORDS[1:2], [2])[0]
    assert apart(alone, first[1]) <= 2  # the batch's size moves the last bits of floats
    assert apart(alone, pipeline.generate(WORDS[1:2], [3])[0]) > 20
    assert apart(alone, pipeline.generate(WORDS[:1], [2])[0]) > 0  # the prompt matters


@every_family
def test_our_image_is_the_one_that_diffusers_generates_with_the_same_seed(
    family: str, folder_of: Folder, settings: Settings, device: torch.device
) -> None:
    from diffusers import AutoPipelineForText2Image

    theirs = AutoPipelineForText2Image.from_pretrained(folder_of(family)).to(device)
    plain = {"clean_caption": False, "use_resolution_binning": False} if family.startswith("pixart") else {}
    expected = theirs(
        WORDS[0], generator=torch.Generator("cpu").manual_seed(5), num_inference_steps=2, guidance_scale=3.0,
        height=16, width=16, **plain,
    ).images[0]  # fmt: skip
    ours = load_pipeline(settings(folder_of(family)), device).generate(WORDS[:1], [5])[0]
    assert apart(ours, expected.convert("RGB")) == 0


@pytest.mark.parametrize(("family", "reads"), [("stable_diffusion", 77), ("stable_diffusion_3", 256), ("flux", 512)])
def test_prompts_that_are_cut_are_counted_and_not_printed(
    family: str, reads: int, folder_of: Folder, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stable Diffusion 3 reads 256 tokens, the default of its call, and FLUX 512, with the tokenizer of T5."""
    pipeline, printed = load_pipeline(settings(folder_of(family)), CPU), StringIO()
    for name in ("diffusers", "transformers"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                monkeypatch.setattr(handler, "stream", printed)
    long = "a photo of a red snowman " * 200
    said = list[str]()
    with logged_to(said.append):
        warn_of_cut([WORDS[0], long, WORDS[1], long], pipeline.pipeline, pipeline.arguments)
    assert said == [f"2 of 4 prompts are longer than the generator's {reads} tokens and are cut"]
    pipeline.generate([long], [1])
    assert "tokens" not in printed.getvalue()


@pytest.mark.parametrize("family", ["stable_diffusion_xl", "pixart_sigma", "stable_diffusion_3"])
def test_a_negative_prompt_changes_the_image(family: str, folder_of: Folder, settings: Settings) -> None:
    plain, negated = (
        load_pipeline(settings(folder_of(family), negative_prompt=text), CPU) for text in ("", "snowman cloud")
    )
    assert apart(plain.generate(WORDS, [1, 2, 3])[1], negated.generate(WORDS, [1, 2, 3])[1]) > 0


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("flux", {"negative_prompt": "cloud"}, "negative_prompt: the guidance of FluxPipeline is distilled"),
        ("stable_diffusion", {"scheduler": "EulerDiscretScheduler"}, "EulerDiscretSch.*Did you mean 'EulerDiscrete"),
        ("stable_diffusion_3", {"scheduler": "DDIMScheduler"}, "DDIMScheduler and FlowMatch.* define noise diff"),
    ],
)
def test_an_unsuitable_setting_is_an_error_before_the_first_image(
    family: str, changes: dict[str, Any], message: str, folder_of: Folder, settings: Settings
) -> None:
    with pytest.raises(UserError, match=message):
        load_pipeline(settings(folder_of(family), **changes), CPU)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data/nowhere", r"generator\.pipeline: no folder data/nowhere"),
        ("nobody/nothing", r"pipeline: nobody/nothing is not on this machine, .*\n  hf download nobody/nothing"),
        ("tests", r"tests cannot be loaded \(.*model_index\.json.* The folder is incomplete or damaged: restore it"),
    ],
)
def test_a_missing_pipeline_is_an_error_with_a_remedy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, project: Path, name: str, message: str
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(UserError, match=message):
        load_pipeline(settings(name), CPU)


def test_a_damaged_folder_is_refused(tmp_path: Path, folder_of: Folder, settings: Settings) -> None:
    folder = shutil.copytree(folder_of("pixart_sigma"), tmp_path / "broken")
    (folder / "tokenizer/tokenizer.json").unlink()
    with pytest.raises(UserError, match="its tokenizer encodes different prompts identically, so its files"):
        load_pipeline(settings(folder), CPU)


def test_missing_tensors_are_an_error_with_accelerate(tmp_path: Path, folder_of: Folder, settings: Settings) -> None:
    pytest.importorskip("accelerate")
    folder = shutil.copytree(folder_of("stable_diffusion"), tmp_path / "partial")
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["conv_norm_out.weight"]
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(UserError, match=r"partial/unet: its weights have no conv_norm_out\.weight\. Restore"):
        load_pipeline(settings(folder), CPU)


def test_a_lora_is_added_as_much_as_its_scale_says(tmp_path: Path, folder_of: Folder, settings: Settings) -> None:
    """A LoRA of the tiny Stable Diffusion's attention, with weights large enough to change the image."""
    peft = pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline
    from peft.utils import get_peft_model_state_dict

    unet, name = make("stable_diffusion").unet, "pytorch_lora_weights.safetensors"
    unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_out.0"]))
    with torch.no_grad():
        for part, weight in unet.named_parameters():
            if "lora" in part:
                weight.normal_(0, 2, generator=torch.Generator().manual_seed(len(part)))
    StableDiffusionPipeline.save_lora_weights(str(tmp_path), unet_lora_layers=get_peft_model_state_dict(unet))

    def image(path: Path, scale: float = 1.0, **options: str) -> np.ndarray:
        return first_image(settings(folder_of("stable_diffusion"), lora={"path": str(path), "scale": scale, **options}))

    plain, whole = first_image(settings(folder_of("stable_diffusion"))), image(tmp_path)
    moved = [np.abs(each - plain).mean() for each in (image(tmp_path, 0.001), image(tmp_path, 0.1), whole)]
    assert moved[0] < moved[1] < moved[2] and moved[2] > 1
    assert np.array_equal(whole, image(tmp_path, weight_name=name)) and np.array_equal(whole, image(tmp_path / name))
    with pytest.raises(UserError, match=r"generator\.lora: .* cannot be added to FluxPipeline"):
        load_pipeline(settings(folder_of("flux"), lora={"path": str(tmp_path), "scale": 1.0}), CPU)
