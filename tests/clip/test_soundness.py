"""Models that no feature can come from are refused where they are opened."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gift_core.clip.model import save_clip
from gift_core.errors import UserError
from gift_core.interop.importing import open_model
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
    "NaN": (put(KERNEL, math.nan, 3), f"3 of the 6144 numbers of {KERNEL} are NaN, infinite or ab"),
    "huge": (put("text_projection", 3e38), "1 of the 128 numbers of text_projection are NaN, infinite or above 1e+18"),
    "missing": (lambda t: t.pop("ln_final.bias"), "ln_final.bias"),
    "shape": (
        lambda t: t.update({"visual.positional_embedding": torch.zeros(10, 32)}),
        "visual.positional_embedding is 10 x 32, expected 5 x 32",
    ),
    "scale large": (put("logit_scale", 100.0), "logit_scale is 100, expected 0 to 6.91"),
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


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"mean": [0.5, math.nan, 0.5]}, "it has NaN, which is not a number of JSON"),
        ({"std": [0.25, 0.0, 0.25]}, "std should be 3 numbers from 0.001 to 1000"),
        ({"interpolation": "nearest"}, "interpolation should be bicubic or bilinear or random, it is 'nearest'"),
        ({"image_size": [16]}, "its images are 16 px, crops here are squares"),
    ],
)
def test_an_unsound_preprocessing_or_image_size_is_refused(values: dict[str, Any], expected: str, folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    section = config["model_cfg"]["vision_cfg"] if "image_size" in values else config["preprocess_cfg"]
    section |= values
    (folder / CONFIG).write_text(json.dumps(config))
    require_refused(lambda: open_model(str(folder), device="cpu"), str(folder), expected)
