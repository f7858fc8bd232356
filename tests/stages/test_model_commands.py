"""`gift merge`, `gift export` and `import_model`: the folders that they write, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import PROVENANCE, WEIGHTS, read_provenance
from gift_core.clip.model import save_clip
from tests.clip.tiny import tiny_clip
from tests.stages.experiment import gift
from tests.tiny_world import moved


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, models trained from it, and models that do not fit."""
    folder = tmp_path_factory.mktemp("merge")
    save_clip(tiny_clip(), folder / "base", {})
    for seed in range(3):
        save_clip(moved(tiny_clip(), seed=seed), folder / f"m{seed}", {})
    save_clip(tiny_clip(tower="resnet"), folder / "resnet", {})
    save_clip(tiny_clip(), folder / "nan", {})
    (folder / "nan" / PROVENANCE).unlink()
    broken = load_file(folder / "nan" / WEIGHTS) | {"ln_final.weight": torch.full((16,), torch.nan)}
    save_file(broken, folder / "nan" / WEIGHTS)
    return folder


@pytest.fixture
def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def test_three_models_become_one_that_open_clip_opens(world: Path) -> None:
    words = "merge m0 m1 m2 --kind ties --base base --keep 0.5 --out out --json"
    result = gift(*words.split())
    assert json.loads(result.stdout)["model"] == "out"
    noted = read_provenance(world / "out")["merge"]
    named = [{"name": name, "sha256": sha256_of(world / name / WEIGHTS)} for name in ("m0", "m1", "m2", "base")]
    assert [*noted["models"], noted["base"]] == named
    assert (noted["kind"], noted["keep"], noted["scale"]) == ("ties", 0.5, 1.0)
    model, _, _ = open_clip.create_model_and_transforms("local-dir:out")
    assert model.state_dict().keys() == load_file("out" / Path(WEIGHTS)).keys()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("merge m0 --kind mean", "1 given, it takes at least two models"),
        ("merge m0 m1 --kind ties", "--kind ties: --base is missing. It takes --base, --keep, --scale."),
        ("merge m0 m1 m2 --kind task_arithmetic --base base --weight 1 2", "--weight: 2 given for 3 models"),
        ("merge m0 ./m9 --kind mean", "m9: no such folder. Beside it: m"),
        ("merge m0 resnet --kind mean", "resnet differ in model_cfg.vision_cfg.image_size (16 and 32)"),
        ("merge m0 nan --kind mean", "nan: 16 of the 16 numbers of ln_final.weight are NaN"),
        ("merge m0 m1 --kind task_arithmetic --base base --weight 1e39", "Give smaller weights"),
        ("export resnet --to transformers", "its image tower is a ResNet"),
        ("export m9 --to onnx", "it needs onnx and onnxscript. Install the extra: make setup EXTRAS=onnx, or pip"),
    ],
)
def test_bad_input_and_a_missing_extra_are_named_before_anything_is_written(
    words: str, expected: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.commands.models.find_spec", lambda name: None)
    before = sorted(world.rglob("*"))
    result = gift(*words.split(), *([] if "--out" in words else ["--out", "new"]), expect=1)
    assert expected in " ".join(result.stderr.split())
    assert sorted(world.rglob("*")) == before


def test_transformers_loads_the_folder_and_the_provenance_names_the_model(world: Path, tmp_path: Path) -> None:
    result = gift("export", "m0", "--to", "transformers", "--out", tmp_path / "out")
    assert CLIPModel.from_pretrained(tmp_path / "out").config.projection_dim == 8
    noted = read_provenance(tmp_path / "out")
    assert noted == {"format": "transformers", "model": {"name": "m0", "sha256": sha256_of(world / "m0" / WEIGHTS)}}
    assert str(tmp_path / "out" / "config.json") in result.stdout
