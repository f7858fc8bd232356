"""Models that no feature can come from are refused where they are opened, in every format."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from gift_core.clip.model import save_clip
from gift_core.errors import UserError
from gift_core.interop.exporting import export_clip
from gift_core.interop.importing import load_clip, open_model
from stages.app import app
from tests.clip.tiny import picture, tiny_clip

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
Tensors = dict[str, torch.Tensor]
KERNEL = "visual.conv1.weight"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "model"
    save_clip(tiny_clip(), folder, {})
    (folder / "provenance.json").unlink()  # it would refuse every change of the weights
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "model")


def change_weights(file: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def change_config(folder: Path, section: str, **values: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config[section] |= values
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


@pytest.mark.parametrize("scale", [0.0, math.log(1 / 0.07), math.log(100), 4.765])
def test_every_usual_scale_is_accepted(scale: float, folder: Path) -> None:
    change_weights(folder / WEIGHTS, put("logit_scale", scale))
    assert math.log(open_model(str(folder), device="cpu").scale) == pytest.approx(scale, abs=1e-6)


@pytest.mark.parametrize("damage", ["NaN", "integers", "shape"])
def test_a_pickle_in_an_open_clip_folder_is_checked_too(damage: str, folder: Path) -> None:
    change, expected = WEIGHT_DAMAGES[damage]
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    torch.save(tensors, folder / "open_clip_pytorch_model.bin")
    open_model(str(folder), device="cpu")
    change(tensors)
    torch.save(tensors, folder / "open_clip_pytorch_model.bin")
    require_refused(lambda: open_model(str(folder), device="cpu"), expected)


@pytest.mark.parametrize("damage", WEIGHT_DAMAGES)
def test_unsound_weights_of_a_single_file_are_refused(damage: str, tmp_path: Path) -> None:
    change, _ = WEIGHT_DAMAGES[damage]
    (file,) = (
        path for path in export_clip(tiny_clip(), tmp_path, to="safetensors", provenance={}) if path.stem == "model"
    )
    tensors, metadata = load_file(file), header(file)
    change(tensors)
    save_file(tensors, file, metadata)
    require_refused(lambda: open_model(str(file), device="cpu"), str(file))


def header(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return dict(opened.metadata())


@pytest.mark.parametrize(("damage", "suffix"), [("NaN", ".pt"), ("integers", ".safetensors")])
def test_unsound_weights_of_a_checkpoint_are_refused(damage: str, suffix: str, tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(0)
    tensors = dict(open_clip.create_model("ViT-S-32-alt").state_dict())
    file = tmp_path / f"weights{suffix}"
    save = {".pt": torch.save, ".safetensors": save_file}[suffix]
    WEIGHT_DAMAGES[damage][0](tensors)
    save(tensors, file)
    require_refused(lambda: load_clip("ViT-S-32-alt", str(file), device="cpu"), str(file))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"mean": [0.5, math.nan, 0.5]}, "it has NaN, which is not a number of JSON"),
        ({"mean": [0.5, math.inf, 0.5]}, "it has Infinity, which is not a number of JSON"),
        ({"mean": [0.5, 0.5]}, "mean should be 3 finite numbers"),
        ({"mean": 0.5}, "mean should be 3 finite numbers"),
        ({"mean": ["0.5", 0.5, 0.5]}, "mean should be 3 finite numbers"),
        ({"std": [0.25, 0.0, 0.25]}, "std should be from 0.001 to 1000"),
        ({"std": [0.25, -1.0, 0.25]}, "std should be from 0.001 to 1000"),
        ({"std": [0.25, math.nan, 0.25]}, "it has NaN, which is not a number of JSON"),
        ({"std": [0.25, None, 0.25]}, "std should be 3 finite numbers"),
        ({"std": [0.25, True, 0.25]}, "std should be 3 finite numbers"),
        ({"std": [0.25] * 4}, "std should be 3 finite numbers"),
        ({"std": []}, "std should be 3 finite numbers"),
        ({"interpolation": "nearest"}, "interpolation should be bicubic or bilinear or random, it is 'nearest'"),
        ({"interpolation": ["bicubic"]}, "interpolation should be bicubic"),
        ({"resize_mode": "crop"}, "resize_mode should be shortest or longest or squash, it is 'crop'"),
    ],
)
def test_an_unsound_preprocessing_is_refused(values: dict[str, Any], expected: str, folder: Path) -> None:
    change_config(folder, "preprocess_cfg", **values)
    require_refused(lambda: open_model(str(folder), device="cpu"), str(folder), expected)


@pytest.mark.parametrize("size", [0, -16, 10**9, 1.5, "16", [16], [16, 10**9], None, True])
def test_an_impossible_image_size_is_refused(size: Any, folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = size
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"{folder}.*image.size"):
        open_model(str(folder), device="cpu")


def test_the_preprocessing_of_a_transformers_folder_is_checked(tmp_path: Path) -> None:
    export_clip(tiny_clip(), tmp_path, to="transformers", provenance={})
    open_model(str(tmp_path), device="cpu")
    file = tmp_path / "preprocessor_config.json"
    file = file if file.is_file() else tmp_path / "processor_config.json"
    text = file.read_text()
    file.write_text(text.replace("0.26", "0.0", 1))
    assert file.read_text() != text
    require_refused(lambda: open_model(str(tmp_path), device="cpu"), str(tmp_path), "std should be from")


@pytest.mark.parametrize("command", ["predict", "merge", "export"])
def test_the_commands_refuse_a_model_with_nan(command: str, good: Path, folder: Path, tmp_path: Path) -> None:
    change_weights(folder / WEIGHTS, put(KERNEL, math.nan))
    picture(0).save(tmp_path / "image.png")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    out = str(tmp_path / "out")
    arguments = {
        "predict": [str(folder), str(tmp_path / "image.png"), "--classes", str(tmp_path / "classes.txt")],
        "merge": [str(good), str(folder), "--alpha", "0.5", "--out", out],
        "export": [str(folder), "--to", "safetensors", "--out", out],
    }[command]
    done = CliRunner().invoke(app, [command, *arguments])
    assert done.exit_code == 1
    assert f"error: {folder}: 1 of the 6144 numbers of {KERNEL} are NaN or infinite" in done.output
    assert not (tmp_path / "out").exists()
