"""`gift export`: its folders, its messages, its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPModel
from typer.testing import Result

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import WEIGHTS, read_provenance
from gift_core.clip.model import save_clip
from tests.clip.tiny import tiny_clip
from tests.stages.experiment import invoke


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A vision transformer and a ResNet as open_clip folders."""
    save_clip(tiny_clip(tower="resnet"), tmp_path / "gift" / "resnet", {})
    save_clip(tiny_clip(), tmp_path / "gift" / "birds", {})
    return tmp_path / "gift" / "birds"


def export(*arguments: str | Path) -> Result:
    return invoke("export", *arguments)


def test_transformers_loads_the_folder_and_the_provenance_names_the_model(model: Path, tmp_path: Path) -> None:
    result = export(model, "--to", "transformers", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert CLIPModel.from_pretrained(tmp_path / "out").config.projection_dim == 8
    noted = read_provenance(tmp_path / "out")
    assert noted == {"format": "transformers", "model": {"name": str(model), "sha256": sha256_of(model / WEIGHTS)}}
    assert str(tmp_path / "out" / "config.json") in result.stdout


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [("resnet", "transformers", "its image tower is a ResNet"), ("no/such/model", "onx", "Did you mean 'onnx'")],
)
def test_a_refused_export_leaves_nothing(model: Path, tmp_path: Path, name: str, to: str, message: str) -> None:
    result = export(model.parent / name, "--to", to, "--out", tmp_path / "out")
    assert result.exit_code == 1 and message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["gift"]


def test_a_missing_extra_is_named_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.export.find_spec", lambda name: None)
    result = export("no/such/model", "--to", "onnx")
    assert result.exit_code == 1
    assert "it needs onnx and onnxscript. Install the extra: make setup EXTRAS=onnx, or pip" in result.stderr
