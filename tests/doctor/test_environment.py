"""Python, packages and devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gift_core.doctor.examine import check_packages
from gift_core.doctor.finding import Finding


def test_required_packages_are_in_range_and_those_for_developers_and_other_systems_are_not_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [finding.mark for finding in check_packages("gift-pipeline")] == ["ok"]
    monkeypatch.syspath_prepend(str(tmp_path))
    metadata = tmp_path / "toy-1.0.dist-info" / "METADATA"  # of a distribution that is installed
    metadata.parent.mkdir()

    def checked(*requirements: str) -> list[Finding]:
        lines = ["Metadata-Version: 2.1", "Name: toy", "Version: 1.0", *map("Requires-Dist: {}".format, requirements)]
        metadata.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return list(check_packages("toy"))

    first, second = checked("numpy>=999", "no-such-package>=1", "typer>=0.1")
    assert (first.mark, first.found) == ("fail", f"numpy {np.__version__} is out of range (numpy>=999)")
    assert first.remedy == "Run: make setup"
    assert second.found == "no-such-package is missing (no-such-package>=1)"
    (found,) = checked('no-such-package; extra == "dev"', 'no-such-package; sys_platform == "amiga"', "numpy")
    assert found.mark == "ok"
