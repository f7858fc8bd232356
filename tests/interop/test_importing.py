"""Any CLIP by its name, and weights in every format that people keep them in; nothing in a file is executed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from open_clip.utils import to_2tuple
from safetensors.torch import save_file

from gift_core.artifacts.model_folder import read_provenance
from gift_core.clip.architectures import preprocess_of
from gift_core.clip.model import save_clip
from gift_core.errors import UserError
from gift_core.interop.exporting import export_clip
from gift_core.interop.importing import load_clip, read_checkpoint, tag_options
from tests.clip.tiny import TOKENIZER, tiny_clip, tiny_config, tiny_model

STATE = tiny_model().state_dict()


def openai_weights(model: CLIP, path: Path) -> Path:
    """The state_dict of what OpenAI published: half precision, with three buffers that describe the model."""
    sizes = {"input_resolution": to_2tuple(model.visual.image_size)[0], "context_length": model.context_length}
    buffers = {name: torch.tensor(value) for name, value in {**sizes, "vocab_size": 49408}.items()}
    torch.save({name: value.half() for name, value in model.state_dict().items()} | buffers, path)
    return path


def features(model: Any) -> torch.Tensor:
    """[2, D]: unit features of one random picture and one text."""
    torch.manual_seed(0)
    tokens_NL = TOKENIZER(["a photo of a cat."])
    with torch.no_grad():
        image_BD = model.encode_image(torch.randn(1, 3, 16, 16), normalize=True)
        return torch.cat([image_BD, model.encode_text(tokens_NL, normalize=True)])


def under(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in STATE.items()}


TRAINING = {"epoch": 3, "name": "run", "state_dict": under("module."), "optimizer": {"state": {}}}
# What torch.save gets, the writer that is recognized, whether QuickGELU is known to be needed.
FORMATS: list[tuple[dict[str, Any], str, bool]] = [
    (under("module."), "a state_dict", False),
    (TRAINING, "open_clip's training", False),
    ({"iteration": 1000, "state_dict": under("")}, "ZSCL or GIFT_CL", True),
]


def test_every_format_gives_the_same_tensors_and_those_outside_the_clip_are_named(tmp_path: Path) -> None:
    for stored, written_by, quick_gelu in FORMATS:
        torch.save(stored, tmp_path / "weights.pt")
        found = read_checkpoint(tmp_path / "weights.pt")
        assert (found.written_by, found.quick_gelu) == (written_by, quick_gelu)
        torch.testing.assert_close(found.tensors, STATE, rtol=0, atol=0)
    others = under("image_encoder.model.") | {"classification_head.weight": torch.zeros(3, 8)}
    save_file({name: value.contiguous() for name, value in others.items()}, tmp_path / "weights.safetensors")
    found = read_checkpoint(tmp_path / "weights.safetensors")
    torch.testing.assert_close(found.tensors, STATE, rtol=0, atol=0)
    assert found.left_out == ("classification_head.weight",)


def test_the_buffers_of_openais_models_are_not_weights_and_their_archives_are_refused(tmp_path: Path) -> None:
    assert sorted(read_checkpoint(openai_weights(tiny_model(), tmp_path / "openai.pt")).tensors) == sorted(STATE)
    torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)).save(str(tmp_path / "archive.pt"))
    with pytest.raises(UserError, match=r"archive.pt: not a file of weights alone .*TorchScript.*torch.jit.load\("):
        read_checkpoint(tmp_path / "archive.pt")


class Surprise:
    """An object whose unpickling runs code."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (print, ("code of the file was run",))


def test_nothing_in_a_weights_file_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Surprise()}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights.pt: not a file of weights alone \(.*print.*was executed"):
        read_checkpoint(tmp_path / "weights.pt")
    assert "code of the file" not in capsys.readouterr().out


QUICK, PLAIN = tiny_model(quick=True), tiny_model(quick=False)


@pytest.fixture(autouse=True)
def architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny, Tiny-quickgelu, and one with more layers, known to open_clip while a test runs."""
    tiny, deep = (tiny_config(layers=layers)["model_cfg"] for layers in (1, 2))
    known = {"Tiny": tiny, "Tiny-quickgelu": tiny | {"quick_gelu": True}, "TinyDeep": deep}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", known)


def saved(tmp_path: Path, stored: object) -> str:
    torch.save(stored, tmp_path / "weights.pt")
    return str(tmp_path / "weights.pt")


def test_an_openai_weights_computes_quickgelu_under_either_name_and_in_open_clip(tmp_path: Path) -> None:
    path = openai_weights(QUICK, tmp_path / "openai.pt")
    expected = features(copy.deepcopy(QUICK).half().float())
    for name in ("Tiny", "Tiny-quickgelu"):
        clip = load_clip(name, str(path), device="cpu")
        torch.testing.assert_close(features(clip.model), expected)
        assert clip.config["model_cfg"]["quick_gelu"] is True
        assert {value.dtype for value in clip.model.parameters()} == {torch.float32}
        assert clip.origin["written_by"] == "OpenAI"
    assert (features(copy.deepcopy(PLAIN).half().float()) - expected).abs().max() > 1e-3
    save_clip(clip, tmp_path / "folder", dict(clip.origin))
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'folder'}")
    assert torch.equal(features(model.eval()), features(clip.model))
    assert "models of OpenAI" in read_provenance(tmp_path / "folder")["activation"]


ASSUMED = r"GELU assumed: .*; weights that descend from OpenAI's .*: model.name: Tiny-quickgelu"
QUICK_ASSUMED = r"QuickGELU assumed: .*; for weights trained with GELU: model.name: Tiny"
OF_ZSCL = {"iteration": 1000, "state_dict": QUICK.state_dict()}  # and of GIFT_CL


@pytest.mark.parametrize(
    ("name", "stored", "model", "note"),
    [
        ("Tiny", OF_ZSCL, QUICK, ".*QuickGELU in place of the GELU of Tiny"),
        ("Tiny", PLAIN.state_dict(), PLAIN, ASSUMED),  # unknown, so that of the named architecture
        ("Tiny-quickgelu", QUICK.state_dict(), QUICK, QUICK_ASSUMED),
    ],
)
def test_the_activation_is_that_of_the_writer_or_of_the_named_architecture(
    name: str, stored: object, model: torch.nn.Module, note: str, tmp_path: Path
) -> None:
    clip = load_clip(name, saved(tmp_path, stored), device="cpu")
    torch.testing.assert_close(features(clip.model), features(model))
    assert re.match(note, clip.origin["activation"])


def test_weights_of_another_architecture_are_refused_with_examples(tmp_path: Path) -> None:
    state = PLAIN.state_dict()
    image_tower = {name: value for name, value in state.items() if name.startswith("visual.")}
    for name, weights, message in (
        (
            "TinyDeep",
            state,
            r"fit: \d+ of \d+ missing \(first visual.transformer.*\. Name their architecture.* local-dir:FOLDER",
        ),
        ("Tiny", image_tower, "should hold a whole CLIP, image and text tower"),
    ):
        with pytest.raises(UserError, match=message):
            load_clip(name, saved(tmp_path, weights), device="cpu")


def test_a_folder_of_transformers_tells_its_activation_and_one_that_open_clip_lacks_is_refused(tmp_path: Path) -> None:
    """Its features: test_exporting.py."""
    folder, quick = tmp_path / "transformers", tiny_clip()
    quick.config["model_cfg"]["quick_gelu"] = True
    export_clip(quick, folder, to="transformers", provenance={})
    assert "hidden_act quick_gelu" in load_clip(f"local-dir:{folder}", device="cpu").origin["activation"]
    with pytest.raises(UserError, match="a folder is a whole model. Name it: model.name: local-dir:"):
        load_clip("Tiny", str(folder), device="cpu")
    (folder / "provenance.json").unlink()  # it would refuse every change
    written = (folder / "config.json").read_text()
    for new, count, message in (("relu", -1, "hidden_act is 'relu', open_clip has"), ("gelu", 1, "two towers differ")):
        (folder / "config.json").write_text(written.replace("quick_gelu", new, count))
        with pytest.raises(UserError, match=f"config.json: .*{message}"):
            load_clip(f"local-dir:{folder}", device="cpu")


def test_preprocessing_and_activation_are_those_of_the_released_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert preprocess_of("ViT-B-16-SigLIP")["mean"] == (0.5, 0.5, 0.5)
    assert preprocess_of("ViT-B-16-SigLIP")["resize_mode"] == "squash"
    assert preprocess_of("ViT-B-16")["resize_mode"] == "shortest"
    for tag, quick in (("openai", True), ("laion2b_s34b_b88k", False)):
        assert tag_options("ViT-B-16", tag) == {"pretrained": tag, "force_quick_gelu": quick}


def test_what_cannot_be_loaded_is_refused_with_what_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    for name, pretrained, message in (
        ("ViT-B-61", "openai", r"no architecture of that name, either\. Did you mean 'ViT-B-16'"),
        ("MyViT", "my.pt", r"of its own is a folder with open_clip_config.json .* model.name: local-dir:FOLDER, pret"),
        (f"local-file:{tmp_path / 'my.pt'}", None, r"no .safetensors file\..* model.name: local-dir:FOLDER, pret"),
        ("ViT-B-16", "openia", r"unknown name 'openia'\. Did you mean 'openai'"),
        ("hf-hub:owner/model", "openai", r"model.pretrained: 'openai' has no effect, because .* its own weights"),
        (f"local-file:{tmp_path / 'bare.safetensors'}", None, "its metadata has no configuration .* Give its arch"),
    ):
        with pytest.raises(UserError, match=message):
            load_clip(name, pretrained, device="cpu")
