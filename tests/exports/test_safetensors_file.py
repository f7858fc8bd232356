"""One file holds the whole model: weights, configuration, tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gift_core.checkpoints.loading import load_clip
from gift_core.clip.encoding import encode_tokens, tokenize
from gift_core.errors import UserError
from gift_core.exports.table import export_clip
from tests.clip.tiny import tiny_clip

TEXTS = ["a photo of a red snowman.", "upwards arrow"]


def mini(project: Path):
    return load_clip(f"local-dir:{project / 'data/mini/clip'}", device="cpu")


def test_the_file_loads_back_with_its_tokenizer(project: Path, tmp_path: Path) -> None:
    clip = mini(project)
    export_clip(clip, tmp_path / "out", to="safetensors", provenance={"format": "safetensors"})
    again = load_clip(f"local-file:{tmp_path / 'out' / 'model.safetensors'}", device="cpu")
    assert torch.equal(encode_tokens(again, tokenize(again, TEXTS)), encode_tokens(clip, tokenize(clip, TEXTS)))
    assert again.config == clip.config
    for name, value in clip.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_safetensors_alone_reads_weights_and_configuration(project: Path, tmp_path: Path) -> None:
    clip = mini(project)
    export_clip(clip, tmp_path / "out", to="safetensors", provenance={"format": "safetensors"})
    path = tmp_path / "out" / "model.safetensors"
    assert sorted(load_file(path)) == sorted(clip.model.state_dict())
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["open_clip"])
    assert described["config"] == clip.config
    assert described["provenance"] == {"format": "safetensors"}
    assert described["tokenizer"]["tokenizer.json"] == (project / "data/mini/clip/tokenizer.json").read_text()


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_clip(tiny_clip(), tmp_path / name, to="safetensors", provenance={})
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()


def test_a_file_of_mere_weights_is_told_how_to_go_on(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="only weights, no configuration .* Give its architecture"):
        load_clip(f"local-file:{tmp_path / 'weights.safetensors'}", device="cpu")


@pytest.mark.parametrize(
    ("name", "message"), [("missing.safetensors", "no such file"), ("weights.pt", "no .safetensors")]
)
def test_other_files_are_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        load_clip(f"local-file:{tmp_path / name}", device="cpu")


def test_an_unknown_format_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown name 'onxx'. Did you mean 'onnx'"):
        export_clip(tiny_clip(), tmp_path / "out", to="onxx", provenance={})
