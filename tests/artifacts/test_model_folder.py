"""Model folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from gift_core.artifacts.model_folder import (
    model_hash,
    noted_hash,
    read_provenance,
    read_shapes,
    require_noted_files,
    write_provenance,
)
from gift_core.errors import UserError
from tests.artifacts.damage import broken_message, flip

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
LETTERS = {"method": "gift", "task": "letters"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The model of method gift after task letters."""
    folder = tmp_path / "gift" / "letters"
    folder.mkdir(parents=True)
    save_file({"a": np.arange(6, dtype=np.float32), "b": np.zeros((2, 2), dtype=np.float32)}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": {"embed_dim": 4}, "preprocess_cfg": {"size": 32}}))
    write_provenance(folder, LETTERS)
    return folder


def test_the_models_hash_is_that_of_its_weights_file(folder: Path) -> None:
    provenance = read_provenance(folder)
    assert {name: provenance[name] for name in LETTERS} == LETTERS
    before = (folder / "provenance.json").read_bytes()
    assert before.startswith(b'{\n  "'), "JSON files are indented by two spaces, so that their bytes stay the same"
    write_provenance(folder, LETTERS)
    assert (folder / "provenance.json").read_bytes() == before
    assert model_hash(folder) == noted_hash(folder) == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / "provenance.json").write_text(json.dumps(LETTERS))
    assert "weights_sha256" in broken_message(lambda: model_hash(folder), folder / "provenance.json", "finetune")


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_changed_weights_and_a_changed_configuration_are_refused(folder: Path, name: str) -> None:
    flip(folder / name)
    message = broken_message(lambda: model_hash(folder), folder / name, "finetune")
    assert "its sha256 should be" in message
    with pytest.raises(UserError, match="its sha256 is not the one that provenance.json notes"):
        require_noted_files(folder)


def test_shapes_of_all_types_are_read_sorted_by_name_unless_the_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"b": torch.zeros(2, 3), "a": torch.zeros(5, dtype=torch.bfloat16), "c": torch.tensor(1)}
    save_tensors(tensors, path, metadata={"note": "mine"})
    assert list(read_shapes(path).items()) == [("a", (5,)), ("b", (2, 3)), ("c", ())]
    data = path.read_bytes()
    damages = (data[:-1], data + b"x", b"version https://git-lfs.github.com/spec/v1", data.replace(b"F32", b"F99"))
    for damaged in damages:
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged or incomplete"):
            read_shapes(path)
