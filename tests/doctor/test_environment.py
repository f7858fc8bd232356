"""Python, packages and devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gift_core.doctor.examine import check_devices, check_packages


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


def test_a_package_out_of_range_is_a_fail_with_both_versions(toy: Path) -> None:
    describe(toy, "numpy>=999", "typer>=0.1")
    (finding,) = check_packages("toy")
    assert (finding.mark, finding.found) == ("fail", f"numpy {np.__version__} is out of range (numpy>=999)")
    assert finding.remedy == "Run: make setup"


def test_a_missing_package_is_a_fail(toy: Path) -> None:
    describe(toy, "no-such-package>=1", "numpy>=1")
    (finding,) = check_packages("toy")
    assert finding.found == "no-such-package is missing (no-such-package>=1)"


def test_packages_for_developers_and_other_systems_are_not_required(toy: Path) -> None:
    describe(toy, 'no-such-package; extra == "dev"', 'no-such-package; sys_platform == "amiga"', "numpy")
    assert [finding.mark for finding in check_packages("toy")] == ["ok"]


def test_a_project_that_is_not_installed_is_a_fail() -> None:
    (finding,) = check_packages("no-such-distribution")
    assert (finding.mark, "is not installed" in finding.found) == ("fail", True)


def test_torch_and_a_device_are_listed() -> None:
    first, *devices = check_devices()
    assert (first.subject, first.mark) == ("torch", "ok")
    assert devices
