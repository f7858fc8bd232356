"""Model folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gift_core.artifacts.models import (
    model_hash,
    read_provenance,
    require_model_folder,
    write_provenance,
)
from tests.artifacts.damage import broken_message, cut

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    save_file({"a": np.arange(6, dtype=np.float32), "b": np.zeros((2, 2), dtype=np.float32)}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": {"embed_dim": 4}, "preprocess_cfg": {"size": 32}}))
    return folder


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    require_model_folder(make(tmp_path / "letters"), "finetune")


def test_the_models_hash_is_that_of_its_weights_file(tmp_path: Path) -> None:
    folder = make(tmp_path / "letters")
    assert model_hash(folder) == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def test_provenance_comes_back_and_is_byte_stable(tmp_path: Path) -> None:
    provenance = {"method": "gift", "after": "abc", "settings": {"rate": 0.001}}
    write_provenance(tmp_path, provenance)
    first = (tmp_path / "provenance.json").read_bytes()
    write_provenance(tmp_path, provenance)
    assert read_provenance(tmp_path) == provenance
    assert (tmp_path / "provenance.json").read_bytes() == first


@pytest.mark.parametrize(
    ("damage", "file", "expected"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS, "there should be a file"),
        (lambda folder: cut(folder / WEIGHTS, 0.9), WEIGHTS, "it was cut short"),
        (lambda folder: cut(folder / WEIGHTS, 0.01), WEIGHTS, "its header is damaged"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), WEIGHTS, "its header is damaged"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"version https://git-lfs"), WEIGHTS, "its header is damaged"),
        (lambda folder: (folder / CONFIG).unlink(), CONFIG, "there should be a file"),
        (lambda folder: (folder / CONFIG).write_text("{"), CONFIG, "it should be JSON"),
        (lambda folder: (folder / CONFIG).write_text("[]"), CONFIG, "it should be a JSON object, it is a list"),
        (lambda folder: (folder / CONFIG).write_text("{}"), CONFIG, "there should be a field 'model_cfg'"),
    ],
)
def test_a_damaged_folder_is_refused(
    damage: Callable[[Path], object], file: str, expected: str, tmp_path: Path
) -> None:
    folder = make(tmp_path / "letters")
    damage(folder)
    assert expected in broken_message(lambda: require_model_folder(folder, "finetune"), folder / file, "finetune")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    assert "there should be a model folder" in broken_message(
        lambda: require_model_folder(folder, "finetune"), folder, "finetune"
    )


def test_the_pretrained_model_is_made_again_by_its_own_stage(tmp_path: Path) -> None:
    folder = tmp_path / "pretrained"
    broken_message(lambda: model_hash(folder), folder / WEIGHTS, "import_model")
    broken_message(lambda: read_provenance(folder), folder / "provenance.json", "import_model")
