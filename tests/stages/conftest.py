"""The commands of gift in a project of the miniature."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.imports import ROOT
from tests.stages import experiment
from tests.stages.experiment import Gift


@pytest.fixture
def gift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gift:
    """Runs a command in a project of presets/mini.yaml, the working folder. What is not said to fail must succeed."""
    shutil.copy(ROOT / "presets" / "mini.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)

    return experiment.gift
