"""The caller's model as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP

import gift_core
from gift_core.clip.model import save_clip
from gift_core.errors import UserError
from gift_core.interop.importing import open_model
from tests.clip.tiny import tiny_clip, tiny_config
from tests.conftest import PROJECT
from tests.library.given import given_model

MINI = PROJECT / "data" / "mini" / "clip"


def test_open_clip_and_the_commands_open_what_was_saved(tmp_path: Path) -> None:
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{MINI}")
    model.train()
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    folder, random_state = tmp_path / "saved", torch.get_rng_state()
    gift_core.save(model, folder, like=MINI)
    assert model.training and torch.equal(torch.get_rng_state(), random_state)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files["tokenizer.json"] == (MINI / "tokenizer.json").read_bytes()
    opened, _, its_transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert str(its_transform) == str(transform)
    clip, texts = open_model(str(folder), device="cpu"), ["a photo of a leaf.", "b"]
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{folder}")(texts), clip.tokenizer(texts))
    for name, value in model.state_dict().items():
        assert torch.equal(value, opened.state_dict()[name]) and torch.equal(value, clip.model.state_dict()[name]), name
    gift_core.save(opened, folder, like=f"local-dir:{folder}")  # again: the same bytes, from itself
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_an_architecture_has_a_name_and_a_model_without_preprocessing_gets_that_of_the_name(tmp_path: Path) -> None:
    save_clip(tiny_clip(), tmp_path / "start", {})
    model = CLIP(**tiny_config()["model_cfg"])
    gift_core.save(model, tmp_path / "saved", like=tmp_path / "start")
    opened, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'saved'}")
    assert "mean=[0.48, 0.45, 0.4]" in str(transform)
    assert torch.equal(opened.text_projection, model.text_projection)


def test_what_would_not_open_as_the_same_model_is_refused(tmp_path: Path) -> None:
    save_clip(tiny_clip(), tmp_path / "start", {})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    start, new = tmp_path / "start", tmp_path / "new"
    quick: Any = CLIP(**tiny_config()["model_cfg"], quick_gelu=True)
    with torch.no_grad():
        quick.visual.conv1.weight.mul_(9)
    refused: list[tuple[Any, Path, Any, str]] = [
        (given_model(), new, None, r"like: missing, .* like='ViT-B-16-quickgelu'"),
        (given_model(), new, "ViT-B-17", r"like: ViT-B-17: no such folder, and no archi.* Did you mean 'ViT-B-16'\?"),
        (given_model(), new, "local-dir:nowhere", r"like: nowhere: no such file or folder"),
        (
            given_model(),
            new,
            MINI,
            r"like: .*clip: the weights of the model do not fit it: .* of another shape \(first .*, expected",
        ),
        (given_model(), tmp_path / "photos", start, r"folder: .*photos has other files \(cat.jpg\). Name a new folder"),
        (given_model(), tmp_path / "photos" / "cat.jpg", start, r"folder: .*cat.jpg is a file. Name a new folder"),
        (quick, new, start, r"like: .*start: it computes other features from the weights of the model \(they differ"),
    ]
    for model, folder, like, message in refused:
        with pytest.raises(UserError, match=f"^gift_core: {message}"):
            gift_core.save(model, folder, like=like)
    assert not new.exists() and [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]
