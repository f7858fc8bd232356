"""What the commands write can be read by those whom the umask lets, whatever the modes of what they read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from gift_core.clip.model import save_clip
from gift_core.computation import State
from gift_core.work.snapshot import write_state
from stages.app import app
from tests.clip.tiny import tiny_clip
from tests.datasets.folders import flat_birds
from tests.imports import ROOT

UMASK = 0o027


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(UMASK)
    yield
    os.umask(before)


def run(*command: str | Path) -> None:
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 0, done.output


def wrong_modes(folder: Path) -> dict[str, str]:
    """{path: its permissions} of what has others than the umask gives."""
    return {
        path.relative_to(folder).as_posix(): oct(path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.stat().st_mode & 0o777 != (0o777 if path.is_dir() else 0o666) & ~UMASK
    }


def read_only_photos(root: Path) -> Path:
    """A folder as it comes from a read-only disk, with files that only their owner may read."""
    photos = flat_birds(root)
    for path in photos.rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)
    photos.chmod(0o500)
    return photos


def test_models_and_exports_have_the_modes_of_the_umask(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        save_clip(tiny_clip(seed=seed), tmp_path / name, {})
    run("export", tmp_path / "one", "--to", "safetensors", "--out", tmp_path / "exports" / "file")
    run("export", tmp_path / "one", "--to", "transformers", "--out", tmp_path / "exports" / "folder")
    run("merge", tmp_path / "one", tmp_path / "two", "--alpha", "0.5", "--out", tmp_path / "merged")
    write_state(tmp_path / ".gift" / "state", State({"a": torch.zeros(2)}, {}))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 5
    assert wrong_modes(tmp_path) == {}


def test_a_copied_data_set_and_its_task_have_the_modes_of_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = read_only_photos(tmp_path / "camera")
    project = tmp_path / "project"
    project.mkdir()
    shutil.copyfile(ROOT / "presets" / "mini.yaml", project / "params.yaml")
    monkeypatch.chdir(project)
    run("add-task", "birds", "--images", photos, "--copy")
    run("ingest", "birds")
    assert len(list((project / "data" / "0_raw" / "birds").rglob("*.png"))) == 20
    assert wrong_modes(project) == {}


def test_edits_of_params_yaml_keep_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat_birds(tmp_path / "data" / "0_raw")
    shutil.copyfile(ROOT / "presets" / "mini.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").chmod(0o660)
    run("add-task", "birds", "--images", "data/0_raw/birds")
    assert (tmp_path / "params.yaml").stat().st_mode & 0o777 == 0o660
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    run("use", "mini")
    assert (tmp_path / "params.yaml").stat().st_mode & 0o777 == 0o660
