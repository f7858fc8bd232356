"""The tasks and models of tests.evaluation.sequence as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.sequence import write_models, write_tasks


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, Path]:
    """Three tasks of two classes: 4, 5 and 6 test images."""
    return write_tasks(tmp_path)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Four models with different weights."""
    return write_models(tmp_path)
