"""Fixtures: tiny pipelines saved as folders, and a generator section with changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.config.generator import GeneratorConfig
from gift_core.work.overlap import Copies
from tests.generators import tiny


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Saves the tiny pipeline of a family once and returns its folder."""
    root = tmp_path_factory.mktemp("pipelines")

    def save(family: str) -> str:
        folder = root / family
        if not folder.exists():
            tiny.make(family).save_pretrained(str(folder))
        return str(folder)

    return save


@pytest.fixture
def settings(mini_params: dict[str, Any]) -> Callable[..., GeneratorConfig]:
    """Makes the generator section for a tiny pipeline: two steps, 16 px, and the given changes."""

    def make(pipeline: str | Path, **changes: Any) -> GeneratorConfig:
        section = {**mini_params["generator"], "steps": 2, "size": tiny.SIZE, "pipeline": str(pipeline), **changes}
        return GeneratorConfig.model_validate(section)

    return make


@pytest.fixture(params=["cpu", "cuda"])
def each_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The CPU, and one that only says "cuda": there, threads finish images while the next ones are generated."""
    monkeypatch.setattr("gift_core.generators.synthesize.Copies", lambda device: Copies(torch.device("cpu")))
    return torch.device(request.param)
