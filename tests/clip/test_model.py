"""A saved folder, which open_clip loads by itself; damaged ones, and models that no feature can come from."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from gift_core.clip.images import evaluation_transform
from gift_core.clip.model import Clip, load_folder, save_clip
from gift_core.errors import ContractError, UserError
from gift_core.interop.importing import load_clip
from tests.artifacts.damage import cut
from tests.clip.tiny import CPU, picture, tiny_clip, tiny_config
from tests.clone import content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "clip"
    save_clip(tiny_clip(), path, {"name": "tiny"})
    return path


def load(folder: Path) -> Clip:
    return load_clip(f"local-dir:{folder}", device=CPU)


@pytest.mark.parametrize("name", ["vit", "resnet", "mini"])
def test_open_clip_alone_loads_a_saved_folder_and_a_loaded_model_saves_the_same_bytes(
    tmp_path: Path, name: str, project: Path
) -> None:
    clip = load(project / "data" / "mini" / "clip") if name == "mini" else tiny_clip(tower=name)
    save_clip(clip, tmp_path / "saved", {})
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'saved'}")
    texts = ["a photo of a red snowman.", "upwards arrow"]
    tokens_NL = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'saved'}")(texts)
    image_CHW = transform(picture(0, width=50, height=40))
    assert torch.equal(image_CHW, evaluation_transform(clip)(picture(0, width=50, height=40)))
    model.eval()
    assert torch.equal(model.encode_image(image_CHW[None]), clip.model.encode_image(image_CHW[None]))
    assert torch.equal(model.encode_text(tokens_NL), clip.model.encode_text(clip.tokenizer(texts)))
    loaded = load(tmp_path / "saved")
    assert torch.equal(loaded.tokenizer(texts), tokens_NL)
    save_clip(loaded, tmp_path / "again", {})
    assert name == "resnet" or content(tmp_path / "again") == content(tmp_path / "saved")  # 32, not [32, 32]


def test_half_precision_files_of_older_versions_become_float32_models(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "open_clip_model.safetensors") | {"embeddings.position_ids": torch.arange(9)}
    (folder / "open_clip_model.safetensors").unlink()
    torch.save(
        {f"module.{name}": value.half() for name, value in weights.items()}, folder / "open_clip_pytorch_model.bin"
    )
    (folder / "provenance.json").unlink()
    clip = load(folder)
    save_clip(clip, tmp_path / "saved", {})
    saved = load_file(tmp_path / "saved" / "open_clip_model.safetensors")
    assert {value.dtype for value in [*clip.model.parameters(), *saved.values()]} == {torch.float32}


CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
KERNEL = "visual.conv1.weight"
Tensors = dict[str, torch.Tensor]
Damage = Callable[[Path], object]


def with_config(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Damage:
    """`change` gets the configuration of the model and the preprocessing."""

    def write(folder: Path) -> None:
        config = tiny_config()
        change(config["model_cfg"], config["preprocess_cfg"])
        (folder / CONFIG).write_text(json.dumps(config))
        (folder / "provenance.json").unlink()  # it would refuse every change

    return write


def with_weights(change: Callable[[Tensors], object]) -> Damage:
    def write(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)
        (folder / "provenance.json").unlink()

    return write


def with_values(name: str, value: float, count: int = 1) -> Damage:
    return with_weights(lambda tensors: tensors[name].view(-1)[:count].fill_(value))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no folder": (shutil.rmtree, "clip: no such folder"),
    "a mean of NaN": (with_config(lambda _, own: own.update(mean=[0.5, math.nan, 0.5])), "NaN, which is not a number"),
    "a deviation of 0": (with_config(lambda _, own: own.update(std=[0.25, 0.0, 0.2])), "std should be 3 numbers"),
    "a giant": (
        with_config(lambda config, _: config.update(embed_dim=10**9)),
        "embed_dim should be a whole number, more than 0 and at most 16384, it is 1000000000",
    ),
    "NaN": (with_values(KERNEL, math.nan, 3), f"3 of the 6144 numbers of {KERNEL} are NaN, infinite or ab"),
    "huge": (with_values("text_projection", 3e38), "1 of the 128 numbers of text_projection are NaN, infinite or abov"),
    "another shape": (
        with_weights(lambda t: t.update({"visual.positional_embedding": torch.zeros(10, 32)})),
        r"fit: 1 of another shape \(first visual.positional_embedding: \[10, 32\], expected",
    ),
    "a large scale": (with_values("logit_scale", 100.0), "logit_scale is 100, expected 0 to 6.91"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_damaged_folder_is_refused_with_the_file_and_the_reason(folder: Path, damage: str) -> None:
    change, message = DAMAGES[damage]
    change(folder)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


def test_the_error_of_a_damaged_artifact_names_the_stages_that_make_it(folder: Path) -> None:
    cut(folder / WEIGHTS)
    with pytest.raises(ContractError, match=r"damaged or incomplete.*import_model and finetune"):
        load_folder(folder, device=CPU, precision="fp32")
