"""`gift export`: its folders, its messages, its errors. `gift merge`: alpha is the share of the new weights."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
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


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two models with BatchNorm."""
    for name, seed in (("start", 1), ("new", 2)):
        clip = tiny_clip(tower="resnet", seed=seed)
        clip.model.get_buffer("visual.bn1.running_mean").fill_(seed)
        clip.model.get_buffer("visual.bn1.num_batches_tracked").fill_(seed)
        save_clip(clip, tmp_path / name, {})
    return tmp_path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.state_dict()


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_every_weight_and_statistic_is_mixed_with_alpha_of_the_new(alpha: float, models: Path) -> None:
    result = invoke("merge", models / "start", models / "new", "--out", models / "out", "--alpha", str(alpha))
    assert result.exit_code == 0, result.output
    start, new, merged = weights(models / "start"), weights(models / "new"), weights(models / "out")
    for name, value in merged.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, alpha * new[name] + (1 - alpha) * start[name], rtol=1e-6, atol=1e-7)
    assert merged["visual.bn1.running_mean"][0].item() == 1 + alpha  # 1 at the start, 2 in the new one
    assert merged["visual.bn1.num_batches_tracked"].item() == 2
    noted = read_provenance(models / "out")["merge"]
    assert (noted["kind"], noted["alpha"]) == ("interpolate", alpha)
    sides = [models / side for side in ("start", "new")]
    assert noted["models"] == [{"name": str(side), "sha256": sha256_of(side / WEIGHTS)} for side in sides]
