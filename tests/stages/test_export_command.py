"""`gift export`: its folders, its messages, its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPModel
from typer.testing import CliRunner, Result

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import WEIGHTS, read_provenance
from gift_core.clip.model import save_clip
from stages.app import app
from tests.clip.tiny import tiny_clip

RUNNER = CliRunner()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A vision transformer and a ResNet as open_clip folders."""
    save_clip(tiny_clip(tower="resnet"), tmp_path / "gift" / "resnet", {})
    save_clip(tiny_clip(), tmp_path / "gift" / "birds", {})
    return tmp_path / "gift" / "birds"


def export(*arguments: str | Path) -> Result:
    return RUNNER.invoke(app, ["export", *map(str, arguments)])


def test_transformers_loads_the_folder_and_the_provenance_names_the_model(model: Path, tmp_path: Path) -> None:
    result = export(model, "--to", "transformers", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert CLIPModel.from_pretrained(tmp_path / "out").config.projection_dim == 8
    noted = read_provenance(tmp_path / "out")
    assert noted == {"format": "transformers", "model": {"name": str(model), "sha256": sha256_of(model / WEIGHTS)}}
    assert str(tmp_path / "out" / "config.json") in result.stdout


def test_without_out_the_folder_is_named_after_the_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export("gift/birds", "--to", "safetensors").exit_code == 0
    assert (tmp_path / "exports" / "gift-birds-safetensors" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [("resnet", "transformers", "its image tower is a ResNet"), ("no/such/model", "onx", "Did you mean 'onnx'")],
)
def test_a_refused_export_leaves_nothing(model: Path, tmp_path: Path, name: str, to: str, message: str) -> None:
    result = export(model.parent / name, "--to", to, "--out", tmp_path / "out")
    assert result.exit_code == 1 and message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["gift"]
