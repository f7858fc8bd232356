"""Weights on disk, counted and checked by their headers, against the library that writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gift_core.doctor.weights_files import count_numbers, pipeline_parameters
from gift_core.errors import ContractError
from tests.imports import ROOT

DIFFUSION = ROOT / "data" / "mini" / "diffusion"


def weights(path: Path, numbers: int, dtype: torch.dtype = torch.float32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"a": torch.zeros(numbers - 6, dtype=dtype), "b": torch.zeros(2, 3, dtype=dtype)}, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_numbers_are_counted_whatever_their_size(tmp_path: Path, dtype: torch.dtype) -> None:
    assert count_numbers(weights(tmp_path / "x.safetensors", 100, dtype)) == 100


def test_metadata_is_no_tensor(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 5)}, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert count_numbers(tmp_path / "x.safetensors") == 10


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_file_that_was_cut_short_is_met_with_its_name(tmp_path: Path, kept: int) -> None:
    path = weights(tmp_path / "x.safetensors", 100)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ContractError, match=r"x\.safetensors: no whole safetensors file"):
        count_numbers(path)


def test_a_file_of_something_else_is_met_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    with pytest.raises(ContractError, match="its header is damaged"):
        count_numbers(tmp_path / "x.safetensors")


def test_a_pipelines_parameters_are_those_its_files_hold() -> None:
    expected = {}
    for file in sorted(DIFFUSION.glob("*/*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            expected[file.parent.name] = sum(opened.get_tensor(name).numel() for name in opened.keys())  # noqa: SIM118 - no mapping
    assert pipeline_parameters(DIFFUSION) == expected
    assert set(expected) == {"text_encoder", "unet", "vae"}


def pipeline(folder: Path) -> Path:
    index = {"_class_name": "X", "unet": ["diffusers", "X"], "safety_checker": [None, None], "scheduler": ["d", "X"]}
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "scheduler").mkdir()
    return folder


def test_the_same_weights_again_count_once(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p")
    for name in ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "diffusion_pytorch_model.non_ema"):
        weights(folder / "unet" / f"{name}.safetensors", 100)
    assert pipeline_parameters(folder) == {"unet": 100}


def test_a_folder_of_half_precision_files_alone_counts(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p")
    weights(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", 100, torch.float16)
    assert pipeline_parameters(folder) == {"unet": 100}


def test_pickles_count_by_their_bytes(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p")
    (folder / "unet").mkdir()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(bytes(400))
    assert pipeline_parameters(folder) == {"unet": 100}


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="unet: named in model_index.json, but not there"):
        pipeline_parameters(pipeline(tmp_path / "p"))


def test_a_folder_that_is_no_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no diffusers pipeline"):
        pipeline_parameters(tmp_path)
