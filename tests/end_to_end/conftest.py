"""The finished small experiment, copied for each file of tests that changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clone import Clone, copy_of


@pytest.fixture(scope="module")
def clone(first_result: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the small experiment has run once."""
    return copy_of(first_result / "gift", tmp_path_factory.mktemp("clone") / "gift")
