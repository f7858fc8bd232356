"""Python, packages and devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gift_core.doctor.examine import check_packages


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metadata file of an installed distribution `toy`."""
    folder = tmp_path / "toy-1.0.dist-info"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder / "METADATA"


def describe(metadata: Path, *requirements: str) -> None:
    lines = ["Metadata-Version: 2.1", "Name: toy", "Version: 1.0", *(f"Requires-Dist: {line}" for line in requirements)]
    metadata.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_this_environment_has_all_required_packages() -> None:
    assert [finding.mark for finding in check_packages("gift-pipeline")] == ["ok"]


def test_a_package_that_is_missing_or_out_of_range_is_a_fail(toy: Path) -> None:
    describe(toy, "numpy>=999", "no-such-package>=1", "typer>=0.1")
    first, second = check_packages("toy")
    assert (first.mark, first.found) == ("fail", f"numpy {np.__version__} is out of range (numpy>=999)")
    assert first.remedy == "Run: make setup"
    assert second.found == "no-such-package is missing (no-such-package>=1)"


def test_packages_for_developers_and_other_systems_are_not_required(toy: Path) -> None:
    describe(toy, 'no-such-package; extra == "dev"', 'no-such-package; sys_platform == "amiga"', "numpy")
    assert [finding.mark for finding in check_packages("toy")] == ["ok"]
