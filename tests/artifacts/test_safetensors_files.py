"""The header of a safetensors file gives the shapes, and a damaged or cut file is found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gift_core.artifacts.model_folder import DamagedFileError, read_shapes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three tensors, one of them of a type that numpy lacks, and metadata."""
    tensors = {"b": torch.zeros(2, 3), "a": torch.zeros(5, dtype=torch.bfloat16), "c": torch.tensor(1)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"note": "mine"})
    return tmp_path / "x.safetensors"


def test_shapes_of_all_types_are_read_sorted_by_name(path: Path) -> None:
    assert list(read_shapes(path).items()) == [("a", (5,)), ("b", (2, 3)), ("c", ())]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "it was cut short"),
        (lambda data: data + b"x", "or has bytes at its end"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1", "its header is damaged"),
        (lambda data: data.replace(b"F32", b"F99"), "its header is damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(damage, message: str, path: Path) -> None:
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError, match=message):
        read_shapes(path)
