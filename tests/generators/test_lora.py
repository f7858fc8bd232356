"""A LoRA on a tiny pipeline: made by peft, loaded by name; and what is said where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import load_pipeline
from tests.generators import tiny

CPU = torch.device("cpu")
FILE = "pytorch_lora_weights.safetensors"
Folder = Callable[[str], str]
Settings = Callable[..., GeneratorConfig]


@pytest.fixture
def with_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if peft were there: what is checked before it is used."""
    monkeypatch.setattr("gift_core.generators.lora.find_spec", lambda name: object())


def make_lora(folder: Path, *, layers: str = "to_q") -> Path:
    """Saves a LoRA of the tiny Stable Diffusion's attention, with weights large enough to be seen."""
    peft = pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline
    from peft.utils import get_peft_model_state_dict

    unet = tiny.make("stable_diffusion").unet
    unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=[layers, "to_out.0"]))
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "lora" in name:
                weight.normal_(0, 2, generator=torch.Generator().manual_seed(len(name)))
    StableDiffusionPipeline.save_lora_weights(str(folder), unet_lora_layers=get_peft_model_state_dict(unet))
    return folder


def drawn(config: GeneratorConfig) -> np.ndarray:
    """One image's levels."""
    return np.asarray(load_pipeline(config, CPU).draw(tiny.WORDS[:1], [5])[0]).astype(int)


def test_a_lora_changes_the_image_as_much_as_its_scale_says(
    tmp_path: Path, folder_of: Folder, settings: Settings
) -> None:
    lora = make_lora(tmp_path / "style")
    plain = drawn(settings(folder_of("stable_diffusion")))
    moved = [
        np.abs(drawn(settings(folder_of("stable_diffusion"), lora={"path": str(lora), "scale": scale})) - plain).mean()
        for scale in (0.001, 0.1, 1.0)
    ]
    assert moved[0] < moved[1] < moved[2]
    assert moved[2] > 1


def test_a_lora_is_the_same_by_its_folder_and_by_its_file(
    tmp_path: Path, folder_of: Folder, settings: Settings
) -> None:
    lora = make_lora(tmp_path / "style")
    whole = drawn(settings(folder_of("stable_diffusion"), lora={"path": str(lora), "scale": 1.0}))
    named = {"path": str(lora), "weight_name": FILE, "scale": 1.0}
    assert np.array_equal(whole, drawn(settings(folder_of("stable_diffusion"), lora=named)))
    file = {"path": str(lora / FILE), "scale": 1.0}
    assert np.array_equal(whole, drawn(settings(folder_of("stable_diffusion"), lora=file)))


def test_a_lora_of_another_pipeline_is_refused(tmp_path: Path, folder_of: Folder, settings: Settings) -> None:
    lora = make_lora(tmp_path / "style")
    with pytest.raises(UserError, match=r"generator\.lora: .*style cannot be put on PixArtSigmaPipeline|takes no LoRA"):
        load_pipeline(settings(folder_of("pixart_sigma"), lora={"path": str(lora), "scale": 1.0}), CPU)
    with pytest.raises(UserError, match=r"generator\.lora: .*style cannot be put on FluxPipeline"):
        load_pipeline(settings(folder_of("flux"), lora={"path": str(lora), "scale": 1.0}), CPU)


def test_without_its_package_a_lora_is_refused_by_name(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gift_core.generators.lora.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"generator\.lora: needs a package more: pip install peft\. Or write lora: nu"):
        load_pipeline(settings("nowhere", lora={"path": "x/y", "scale": 1.0}), CPU)


@pytest.mark.parametrize(
    ("files", "weight_name", "message"),
    [
        (None, None, r"lora\.path: there is no .*style"),
        ([], None, r"lora\.path: .*style holds no \.safetensors file"),
        (["a.safetensors", "b.safetensors"], None, r"lora\.weight_name: .* 2 files: a\.safetensors, b\.safetensors"),
        (["ink.safetensors"], "imk.safetensors", r"holds no imk\.safetensors\. Did you mean 'ink\.safetensors'\?"),
    ],
)
@pytest.mark.usefixtures("with_package")
def test_a_lora_that_is_not_there_is_met_before_the_pipeline_is_loaded(
    files: list[str] | None, weight_name: str | None, message: str, tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "style"
    if files is not None:
        folder.mkdir()
    for file in files or []:
        (folder / file).write_bytes(b"")
    lora = {"path": str(folder), "weight_name": weight_name, "scale": 1.0}
    with pytest.raises(UserError, match=message):
        load_pipeline(settings("nowhere", lora=lora), CPU)
