"""`import_model` with weights of other libraries: the folder, its provenance, and the messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from typer.testing import CliRunner, Result

from gift_core.artifacts.model_folder import read_provenance, require_model_folder
from gift_core.layout import Layout
from stages.app import app
from tests.interop.weights import features, openai_archive, register, tiny_model

Run = Callable[[str, Path], Result]


@pytest.fixture
def run(tmp_path: Path, mini_params: dict[str, Any], write_params: Callable[[dict[str, Any]], Path]) -> Run:

    def invoke(name: str, weights: Path) -> Result:
        mini_params["model"] |= {"name": name, "pretrained": str(weights)}
        params = write_params(mini_params)
        return CliRunner().invoke(app, ["import_model", "--params", str(params), "--root", str(tmp_path)])

    return invoke


def raw(tmp_path: Path) -> Path:
    folder = Layout(tmp_path).raw("models")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_an_openai_archive_becomes_an_open_clip_folder_that_records_why_it_computes_quickgelu(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    model = tiny_model(quick=True)
    archive = openai_archive(model, raw(tmp_path) / "tiny.pt")
    result = run("Tiny", archive)
    assert result.exit_code == 0, result.output
    folder = Layout(tmp_path).pretrained()
    require_model_folder(folder, "import_model")
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    torch.testing.assert_close(features(loaded.eval()), features(model.half().float()))
    noted = read_provenance(folder)
    assert (noted["name"], noted["pretrained"], noted["written_by"]) == ("Tiny", str(archive), "OpenAI")
    assert noted["activation"].startswith("QuickGELU in place of the GELU of Tiny: it has input_resolution")
    assert f"activation: {noted['activation']}" in result.output
    assert "DVC does not watch" not in result.output


def test_weights_that_dvc_does_not_watch_are_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    torch.save(tiny_model().state_dict(), tmp_path / "weights.pt")
    output = run("Tiny", tmp_path / "weights.pt").output
    assert f"DVC does not watch {tmp_path / 'weights.pt'}: move it to {Layout(tmp_path).raw('models')}" in output
    assert "GELU assumed" in output
