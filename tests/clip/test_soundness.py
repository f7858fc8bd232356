"""Models that no feature can come from are refused where they are opened, in every format."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gift_core.clip.model import save_clip
from gift_core.errors import UserError
from gift_core.interop.exporting import export_clip
from gift_core.interop.importing import load_clip, open_model
from tests.clip.tiny import tiny_clip

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
Tensors = dict[str, torch.Tensor]
KERNEL = "visual.conv1.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_clip(tiny_clip(), tmp_path / "model", {})
    (tmp_path / "model" / "provenance.json").unlink()  # it would refuse every change of the weights
    return tmp_path / "model"


def change_weights(file: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def put(name: str, value: float, count: int = 1) -> Callable[[Tensors], object]:
    return lambda tensors: tensors[name].view(-1)[:count].fill_(value)


WEIGHT_DAMAGES: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "NaN": (put(KERNEL, math.nan, 3), f"3 of the 6144 numbers of {KERNEL} are NaN or infinite"),
    "infinite": (put("ln_final.bias", math.inf), "1 of the 16 numbers of ln_final.bias are NaN or infinite"),
    "integers": (lambda t: t.update({KERNEL: t[KERNEL].mul(100).to(torch.int32)}), f"{KERNEL} has integers"),
    "missing": (lambda t: t.pop("ln_final.bias"), "ln_final.bias"),
    "extra": (lambda t: t.update({"visual.more": torch.zeros(2)}), "visual.more"),
    "shape": (
        lambda t: t.update({"visual.positional_embedding": torch.zeros(10, 32)}),
        "visual.positional_embedding is 10 x 32, expected 5 x 32",
    ),
    "scale large": (put("logit_scale", 100.0), "logit_scale is 100, expected 0 to 6.91"),
    "scale small": (put("logit_scale", -5.0), "logit_scale is -5, expected 0 to 6.91"),
}  # fmt: skip


@pytest.mark.parametrize("damage", WEIGHT_DAMAGES)
def test_unsound_weights_are_refused(damage: str, folder: Path) -> None:
    change, expected = WEIGHT_DAMAGES[damage]
    open_model(str(folder), device="cpu")
    change_weights(folder / WEIGHTS, change)
    require_refused(lambda: open_model(str(folder), device="cpu"), str(folder), expected)


def require_refused(load: Callable[[], object], *expected: str) -> None:
    with pytest.raises(UserError) as caught:
        load()
    for text in expected:
        assert text in str(caught.value)


@pytest.mark.parametrize("scale", [0.0, math.log(100), 4.765])
def test_every_usual_scale_is_accepted(scale: float, folder: Path) -> None:
    change_weights(folder / WEIGHTS, put("logit_scale", scale))
    assert math.log(open_model(str(folder), device="cpu").scale) == pytest.approx(scale, abs=1e-6)


def pickle_in_a_folder(folder: Path) -> str:
    (folder / WEIGHTS).unlink()
    torch.save(damaged(tiny_clip().model), folder / "open_clip_pytorch_model.bin")
    return str(folder)


def single_file(folder: Path) -> str:
    files = export_clip(tiny_clip(), folder.parent, to="safetensors", provenance={})
    (file,) = (path for path in files if path.stem == "model")
    with safe_open(file, framework="pt") as opened:
        metadata = dict(opened.metadata())
    save_file(damaged(tiny_clip().model), file, metadata)
    return str(file)


def checkpoint(folder: Path) -> str:
    torch.save(damaged(open_clip.create_model("ViT-S-32-alt")), folder.parent / "weights.pt")
    return str(folder.parent / "weights.pt")


def damaged(model: torch.nn.Module) -> Tensors:
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    put(KERNEL, math.nan)(tensors)
    return tensors


@pytest.mark.parametrize("save", [pickle_in_a_folder, single_file, checkpoint])
def test_unsound_weights_of_every_format_are_refused(save: Callable[[Path], str], folder: Path) -> None:
    file = save(folder)
    if save is checkpoint:
        require_refused(lambda: load_clip("ViT-S-32-alt", file, device="cpu"), file, "are NaN")
    else:
        require_refused(lambda: open_model(file, device="cpu"), file, f"numbers of {KERNEL} are NaN")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"mean": [0.5, math.nan, 0.5]}, "it has NaN, which is not a number of JSON"),
        ({"mean": [0.5, 0.5]}, "mean should be 3 finite numbers"),
        ({"std": [0.25, 0.0, 0.25]}, "std should be from 0.001 to 1000"),
        ({"interpolation": "nearest"}, "interpolation should be bicubic or bilinear or random, it is 'nearest'"),
        ({"resize_mode": "crop"}, "resize_mode should be shortest or longest or squash, it is 'crop'"),
        ({"image_size": [16]}, "its image size is [16], expected 1 to 4096 px"),
        *(({"image_size": size}, "image_size") for size in (0, 10**9, "16", None)),
    ],
)
def test_an_unsound_preprocessing_or_image_size_is_refused(values: dict[str, Any], expected: str, folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    section = config["model_cfg"]["vision_cfg"] if "image_size" in values else config["preprocess_cfg"]
    section |= values
    (folder / CONFIG).write_text(json.dumps(config))
    require_refused(lambda: open_model(str(folder), device="cpu"), str(folder), expected)


def test_the_preprocessing_of_a_transformers_folder_is_checked(tmp_path: Path) -> None:
    export_clip(tiny_clip(), tmp_path, to="transformers", provenance={})
    (file,) = (tmp_path / name for name in ("preprocessor_config.json", "processor_config.json")
               if (tmp_path / name).is_file())  # fmt: skip
    text = file.read_text()
    file.write_text(text.replace("0.26", "0.0", 1))
    assert file.read_text() != text
    require_refused(lambda: open_model(str(tmp_path), device="cpu"), str(tmp_path), "std should be from")
