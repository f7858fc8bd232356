"""What all tests share: one thread, no hub, and an experiment to change."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported
os.environ["HF_HUB_OFFLINE"] = "1"

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project() -> Path:
    """The repository's root."""
    return PROJECT


@pytest.fixture(scope="session")
def _mini_params() -> dict[str, Any]:
    return yaml.safe_load((PROJECT / "presets" / "mini.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def mini_params(_mini_params: dict[str, Any]) -> dict[str, Any]:
    """presets/mini.yaml as a dictionary of one's own, to change."""
    return copy.deepcopy(_mini_params)


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes a dictionary as tmp_path/params.yaml and returns the path."""

    def write(params: dict[str, Any]) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        return path

    return write
