"""A run with all that the report reads, written once for the tests of the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.config.experiment import Config
from gift_core.layout import Layout
from tests.report.run_folder import write_pictures, write_run


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    """The run's folder and its settings. Copy the folder before you change a file."""
    root = tmp_path_factory.mktemp("whole")
    config = write_run(root)
    write_pictures(Layout(root), config)
    return root, config
