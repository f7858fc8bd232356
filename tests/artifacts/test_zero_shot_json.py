"""reports/zero_shot.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.zero_shot_json import NO_BENCHMARK, read_zero_shot, write_zero_shot
from gift_core.errors import ContractError

CHECK: dict[str, Any] = {
    "benchmark": "MTIL order I",
    "verdict": "differs",
    "sentence": "Zero-shot does not agree.",
    "data_sets": {"dtd": {"measured": 40.12345, "published": 44.6}},
}


def test_what_is_written_is_read_with_two_decimals(tmp_path: Path) -> None:
    write_zero_shot(tmp_path / "zero_shot.json", CHECK)
    check = read_zero_shot(tmp_path / "zero_shot.json")
    assert check == CHECK | {"data_sets": {"dtd": {"measured": 40.12, "published": 44.6}}}


def test_a_run_of_no_benchmark_has_an_empty_sentence(tmp_path: Path) -> None:
    write_zero_shot(tmp_path / "zero_shot.json", NO_BENCHMARK)
    assert read_zero_shot(tmp_path / "zero_shot.json")["sentence"] == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"verdict": "perfect"}, "verdict should be one of agrees, differs"), ({"sentence": None}, "should be str")],
)
def test_an_unsound_check_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ContractError, match=f"{expected}.*dvc repro report"):
        write_zero_shot(tmp_path / "zero_shot.json", CHECK | change)
    assert not (tmp_path / "zero_shot.json").exists()
