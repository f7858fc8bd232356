"""Weights in every format that people keep them in; nothing in a file is executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gift_core.errors import UserError
from gift_core.interop.checkpoints import read_checkpoint
from tests.interop.weights import openai_weights, tiny_model

STATE = tiny_model().state_dict()


def under(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in STATE.items()}


TRAINING = {"epoch": 3, "name": "run", "state_dict": under("module."), "optimizer": {"state": {}}}
# What torch.save gets, the writer that is recognized, whether QuickGELU is needed.
FORMATS: list[tuple[dict[str, Any], str, bool | None]] = [
    (under("module."), "a state_dict", None),
    (TRAINING, "open_clip's training", None),
    ({"iteration": 1000, "state_dict": under("")}, "ZSCL or GIFT_CL", True),
]


def assert_same_tensors(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> None:
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value) and found[name].dtype == value.dtype, name


def test_every_format_gives_the_same_tensors_and_those_outside_the_clip_are_named(tmp_path: Path) -> None:
    for stored, written_by, quick_gelu in FORMATS:
        torch.save(stored, tmp_path / "weights.pt")
        found = read_checkpoint(tmp_path / "weights.pt")
        assert (found.written_by, found.quick_gelu) == (written_by, quick_gelu)
        assert_same_tensors(found.tensors)
    others = under("image_encoder.model.") | {"classification_head.weight": torch.zeros(3, 8)}
    save_file({name: value.contiguous() for name, value in others.items()}, tmp_path / "weights.safetensors")
    found = read_checkpoint(tmp_path / "weights.safetensors")
    assert_same_tensors(found.tensors)
    assert found.left_out == ("classification_head.weight",)


def test_the_buffers_of_openais_models_are_not_weights_and_their_archives_are_refused(tmp_path: Path) -> None:
    assert sorted(read_checkpoint(openai_weights(tiny_model(), tmp_path / "openai.pt")).tensors) == sorted(STATE)
    torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)).save(str(tmp_path / "archive.pt"))
    with pytest.raises(UserError, match=r"archive.pt: a TorchScript archive, .*torch.jit.load\(.*state_dict\(\)"):
        read_checkpoint(tmp_path / "archive.pt")


class Surprise:
    """An object whose unpickling runs code."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (print, ("code of the file was run",))


def test_nothing_in_a_weights_file_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Surprise()}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights.pt: holds Python objects beside tensors \(.*print\)"):
        read_checkpoint(tmp_path / "weights.pt")
    assert "code of the file" not in capsys.readouterr().out


def test_half_a_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="state.pt: damaged, or not a file of weights"):
        read_checkpoint(path)


def test_a_file_or_folder_without_weights_and_a_whole_pickled_model_are_refused(tmp_path: Path) -> None:
    whole = r"open_clip.model.CLIP\); nothing in it was executed. .*state_dict\(\)"
    for stored, message in (([1, 2], "holds no tensors"), ({"epoch": 3}, "holds no tensors"), (tiny_model(), whole)):
        torch.save(stored, tmp_path / "weights.pt")
        with pytest.raises(UserError, match=message):
            read_checkpoint(tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"expected model.safetensors or pytorch_model.bin. .* model.name: local-dir:"):
        read_checkpoint(tmp_path)
