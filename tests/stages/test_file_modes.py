"""What the commands write can be read by those whom the umask lets, whatever the modes of what they read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gift_core.clip.model import save_clip
from stages.app import app
from tests.clip.tiny import tiny_clip
from tests.datasets.folders import flat_birds
from tests.imports import ROOT

UMASK = 0o027


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


def test_what_commands_write_has_the_modes_of_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = flat_birds(tmp_path / "camera")  # as from a read-only disk, and only their owner may read them
    for path in (*photos.rglob("*"), photos):
        path.chmod(0o500 if path.is_dir() else 0o400)
    project = tmp_path / "project"
    before = os.umask(UMASK)
    try:
        project.mkdir()
        shutil.copyfile(ROOT / "presets" / "mini.yaml", project / "params.yaml")
        monkeypatch.chdir(project)
        run("add-task", "birds", "--images", photos, "--copy")
        run("ingest", "birds")
        save_clip(tiny_clip(), project / "model", {})
        run("export", "model", "--to", "transformers", "--out", "exported")
        run("merge", "model", "model", "--alpha", "0.5", "--out", "merged")
    finally:
        os.umask(before)
    assert len(list((project / "data/0_raw/birds").rglob("*.png"))) == 20
    assert wrong_modes(project) == {}
