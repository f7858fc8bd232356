"""Loading pipelines and LoRAs from folders and the hub, and the errors when they cannot be loaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import load_pipeline
from tests.generators import tiny
from tests.generators.tiny import first_image

CPU = torch.device("cpu")
Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data/nowhere", r"generator\.pipeline: there is no folder data/nowhere"),
        ("nobody/nothing", r"pipeline: nobody/nothing is not on this machine, .*\n  hf download nobody/nothing"),
        ("tests", r"has no model_index\.json"),
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
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(UserError, match="broken cannot be loaded .*incomplete or damaged"):
        load_pipeline(settings(folder), CPU)


def test_a_lora_is_added_as_much_as_its_scale_says(tmp_path: Path, folder_of: Folder, settings: Settings) -> None:
    """A LoRA of the tiny Stable Diffusion's attention, with weights large enough to change the image."""
    peft = pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline
    from peft.utils import get_peft_model_state_dict

    unet, name = tiny.make("stable_diffusion").unet, "pytorch_lora_weights.safetensors"
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


@pytest.mark.parametrize(
    ("files", "weight_name", "message"),
    [
        (None, None, r"lora\.path: there is no .*style"),
        (["a.safetensors", "b.safetensors"], None, r"lora\.weight_name: .* 2 files: a\.safetensors, b\.safetensors"),
    ],
)
def test_a_missing_lora_is_an_error_before_the_pipeline_is_loaded(
    files: list[str] | None, weight_name: str | None, message: str, tmp_path: Path, settings: Settings
) -> None:
    pytest.importorskip("peft")
    folder = tmp_path / "style"
    if files is not None:
        folder.mkdir()
    for file in files or []:
        (folder / file).write_bytes(b"")
    lora = {"path": str(folder), "weight_name": weight_name, "scale": 1.0}
    with pytest.raises(UserError, match=message):
        load_pipeline(settings("nowhere", lora=lora), CPU)
