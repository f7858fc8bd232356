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
from typer.testing import CliRunner

from gift_core.clip.model import save_clip
from gift_core.errors import UserError
from gift_core.interop.exporting import export_clip
from gift_core.interop.importing import load_clip, open_model
from stages.app import app
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


def change_config(folder: Path, **sections: dict[str, Any]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    for section, values in sections.items():
        for key, value in values.items():
            old = config[section].get(key)
            config[section][key] = old | value if isinstance(value, dict) else value
    (folder / CONFIG).write_text(json.dumps(config))


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
    "scale NaN": (put("logit_scale", math.nan), "logit_scale are NaN"),
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


def test_a_pickle_in_an_open_clip_folder_is_checked_too(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    put(KERNEL, math.nan)(tensors)
    torch.save(tensors, folder / "open_clip_pytorch_model.bin")
    require_refused(lambda: open_model(str(folder), device="cpu"), f"1 of the 6144 numbers of {KERNEL} are NaN")


def test_unsound_weights_of_a_single_file_are_refused(tmp_path: Path) -> None:
    files = export_clip(tiny_clip(), tmp_path, to="safetensors", provenance={})
    (file,) = (path for path in files if path.stem == "model")
    with safe_open(file, framework="pt") as opened:
        metadata = dict(opened.metadata())
    tensors = load_file(file)
    put(KERNEL, math.nan)(tensors)
    save_file(tensors, file, metadata)
    require_refused(lambda: open_model(str(file), device="cpu"), str(file), "are NaN")


def test_unsound_weights_of_a_checkpoint_are_refused(tmp_path: Path) -> None:
    tensors, file = dict(open_clip.create_model("ViT-S-32-alt").state_dict()), tmp_path / "weights.pt"
    put(KERNEL, math.nan)(tensors)
    torch.save(tensors, file)
    require_refused(lambda: load_clip("ViT-S-32-alt", str(file), device="cpu"), str(file), "are NaN")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"mean": [0.5, math.nan, 0.5]}, "it has NaN, which is not a number of JSON"),
        ({"mean": [0.5, 0.5]}, "mean should be 3 finite numbers"),
        ({"mean": ["0.5", 0.5, 0.5]}, "mean should be 3 finite numbers"),
        ({"std": [0.25, 0.0, 0.25]}, "std should be from 0.001 to 1000"),
        ({"std": 0.25}, "std should be 3 finite numbers"),
        ({"interpolation": "nearest"}, "interpolation should be bicubic or bilinear or random, it is 'nearest'"),
        ({"resize_mode": "crop"}, "resize_mode should be shortest or longest or squash, it is 'crop'"),
    ],
)
def test_an_unsound_preprocessing_is_refused(values: dict[str, Any], expected: str, folder: Path) -> None:
    change_config(folder, preprocess_cfg=values)
    require_refused(lambda: open_model(str(folder), device="cpu"), str(folder), expected)


@pytest.mark.parametrize("size", [0, 10**9, "16", [16], None])
def test_an_impossible_image_size_is_refused(size: Any, folder: Path) -> None:
    change_config(folder, model_cfg={"vision_cfg": {"image_size": size}})
    with pytest.raises(UserError, match=rf"{folder}.*image.size"):
        open_model(str(folder), device="cpu")


def test_the_preprocessing_of_a_transformers_folder_is_checked(tmp_path: Path) -> None:
    export_clip(tiny_clip(), tmp_path, to="transformers", provenance={})
    (file,) = (tmp_path / name for name in ("preprocessor_config.json", "processor_config.json")
               if (tmp_path / name).is_file())  # fmt: skip
    text = file.read_text()
    file.write_text(text.replace("0.26", "0.0", 1))
    assert file.read_text() != text
    require_refused(lambda: open_model(str(tmp_path), device="cpu"), str(tmp_path), "std should be from")


def test_a_command_refuses_a_model_with_nan(folder: Path, tmp_path: Path) -> None:
    change_weights(folder / WEIGHTS, put(KERNEL, math.nan))
    done = CliRunner().invoke(app, ["export", str(folder), "--to", "safetensors", "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert f"error: {folder}: 1 of the 6144 numbers of {KERNEL} are NaN or infinite" in done.output
    assert not (tmp_path / "out").exists()
