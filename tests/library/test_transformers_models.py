"""A CLIPModel of transformers is trained by the library and goes back with the same features."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, SiglipConfig, SiglipModel

import gift_core
from gift_core.errors import UserError
from gift_core.interop.exporting import export_clip
from tests.clip.tiny import picture, tiny_clip
from tests.conftest import PROJECT
from tests.library.given import finetuned, given_model

TEXTS = ["a photo of a cat.", "the number 12"]
IMAGE = picture(3).resize((24, 16), Image.Resampling.BICUBIC)  # with odd margins transformers crops one pixel off


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CLIPModel with its processor."""
    export_clip(tiny_clip(), tmp_path / "theirs", to="transformers", provenance={})
    return tmp_path / "theirs"


@torch.no_grad()
def their_features(model: CLIPModel, folder: Path) -> torch.Tensor:
    inputs = CLIPProcessor.from_pretrained(folder)(text=TEXTS, images=IMAGE, return_tensors="pt", padding=True)
    found = model(**inputs)
    return torch.cat([found.image_embeds, found.text_embeds])


@torch.no_grad()
def our_features(model: Any, preprocess: Any, tokenizer: Any) -> torch.Tensor:
    image_BD = model.encode_image(preprocess(IMAGE)[None], normalize=True)
    return torch.cat([image_BD, model.encode_text(tokenizer(TEXTS), normalize=True)])


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_a_clipmodel_and_its_folder_give_their_own_features(folder: Path) -> None:
    theirs = CLIPModel.from_pretrained(folder).eval()
    expected = their_features(theirs, folder)
    for source in (theirs, folder, str(folder), f"local-dir:{folder}"):
        model, preprocess, tokenizer = gift_core.from_transformers(source)
        assert preprocess(IMAGE).shape == (3, 16, 16) and not model.training
        assert tokenizer(TEXTS).dtype == torch.int64
        assert_close(our_features(model, preprocess, tokenizer), expected)
    half = gift_core.from_transformers(theirs.half())[0]
    assert {value.dtype for value in half.parameters()} == {torch.float32}


def test_a_trained_model_its_copy_and_its_release_go_back_with_their_features(folder: Path, tmp_path: Path) -> None:
    theirs = CLIPModel.from_pretrained(folder)
    before = their_features(theirs, folder)
    model, preprocess, tokenizer = gift_core.from_transformers(theirs)
    start = copy.deepcopy(model.state_dict())
    finetuned(model, tokenizer=tokenizer)
    assert torch.equal(their_features(theirs, folder), before)  # the model that was given is not trained
    random_state = torch.get_rng_state()
    for trained in (model, gift_core.released(model, start, alpha=0.5)):
        back = gift_core.to_transformers(trained)
        assert (their_features(back, folder) - before).abs().max() > 1e-3
        assert_close(our_features(trained, preprocess, tokenizer), their_features(back, folder))
    assert torch.equal(torch.get_rng_state(), random_state) and not back.training
    back.save_pretrained(tmp_path / "back")
    CLIPProcessor.from_pretrained(folder).save_pretrained(tmp_path / "back")
    assert_close(our_features(*gift_core.from_transformers(tmp_path / "back")), their_features(back, folder))
    gift_core.save(model, tmp_path / "saved", like=folder)  # as an open_clip folder, which goes back, too
    opened = gift_core.from_transformers(tmp_path / "saved")
    assert_close(their_features(gift_core.to_transformers(opened[0]), folder), our_features(*opened))
    assert_close(our_features(*opened), our_features(model, preprocess, tokenizer))


def test_a_model_of_the_hub_has_its_processor(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "cache" / "models--owner--tiny" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    theirs = CLIPModel.from_pretrained("owner/tiny")
    _, preprocess, _ = gift_core.from_transformers(theirs)
    assert "mean=[0.48, 0.45, 0.4]" in str(preprocess)  # not OpenAI's
    (snapshot / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="the processor of owner/tiny cannot be loaded: .* Connect once"):
        gift_core.from_transformers(theirs)


def test_a_folder_of_open_clip_opens_too_and_what_cannot_be_converted_says_why(tmp_path: Path) -> None:
    tiny: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    siglip = SiglipModel(SiglipConfig(vision_config=tiny | {"image_size": 16}, text_config=tiny | {"vocab_size": 9}))
    with pytest.raises(UserError, match="from_transformers: a SiglipModel, expected a CLIPModel of transformers"):
        gift_core.from_transformers(siglip)
    other = CLIPModel(CLIPConfig(vision_config=tiny | {"hidden_act": "relu"}, text_config=tiny | {"vocab_size": 9}))
    with pytest.raises(UserError, match="model: no CLIPModel that open_clip has, too: hidden_act is 'relu'"):
        gift_core.from_transformers(other)
    with pytest.raises(UserError, match=r"owner/name: no such folder or file. .*CLIPModel.from_pretrained\('owner/na"):
        gift_core.from_transformers("owner/name")
    with pytest.raises(UserError, match="from_transformers did not make it.* Save it, and open the folder"):
        gift_core.to_transformers(given_model())
    model, _, tokenizer = gift_core.from_transformers(PROJECT / "data" / "mini" / "clip")
    assert tokenizer(["a"]).shape == (1, 20)
    with pytest.raises(UserError, match="CLIPModel cannot express this model: its image tower is a ResNet"):
        gift_core.to_transformers(model)


def test_finetune_of_a_clipmodel_names_the_conversion() -> None:
    tiny: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    theirs = CLIPModel(CLIPConfig(vision_config=tiny, text_config=tiny))
    with pytest.raises(UserError, match=r"model: a CLIPModel is of transformers.* gift_core.from_transformers\(model"):
        finetuned(theirs)
