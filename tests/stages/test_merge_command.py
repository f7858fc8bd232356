"""`gift merge`: alpha is the share of the new weights, and the result opens in open_clip."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from typer.testing import CliRunner, Result

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import WEIGHTS, read_provenance
from gift_core.clip.model import save_clip
from stages.app import app
from tests.clip.tiny import tiny_clip

RUNNER = CliRunner()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two models with BatchNorm of one architecture, and one of another."""
    for name, seed in (("start", 1), ("new", 2)):
        clip = tiny_clip(tower="resnet", seed=seed)
        clip.model.get_buffer("visual.bn1.running_mean").fill_(seed)
        clip.model.get_buffer("visual.bn1.num_batches_tracked").fill_(seed)
        save_clip(clip, tmp_path / name, {})
    save_clip(tiny_clip(), tmp_path / "other", {})
    return tmp_path


def merge(models: Path, *options: str, start: str = "start", new: str = "new") -> Result:
    return RUNNER.invoke(app, ["merge", str(models / start), str(models / new), "--out", str(models / "out"), *options])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.state_dict()


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_every_weight_and_statistic_is_mixed_with_alpha_of_the_new(alpha: float, models: Path) -> None:
    result = merge(models, "--alpha", str(alpha))
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


def test_alpha_is_a_share(models: Path) -> None:
    assert merge(models, "--alpha", "1.5").exit_code == 2


def test_another_architecture_and_an_existing_output_are_refused(models: Path) -> None:
    result = merge(models, "--alpha", "0.5", new="other")
    assert (result.exit_code, (models / "out").exists()) == (1, False)
    assert "differ in model_cfg.vision_cfg.image_size (32 and 16)" in " ".join(result.stderr.split())
    (models / "out").mkdir()
    (models / "out" / "thesis.tex").write_text("mine")
    result = merge(models, "--alpha", "0.5")
    assert result.exit_code == 1 and "already exists" in result.stderr
    assert (models / "out" / "thesis.tex").read_text() == "mine"
