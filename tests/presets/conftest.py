"""A project in the working folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is a new one: what params.yaml names is looked for there."""
    monkeypatch.chdir(tmp_path)
