"""The table of the smoke run: measurements, and estimates for some stages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.smoke.measure import Measured
from benchmarks.smoke.record import GIB, heading, table_of, write_record
from benchmarks.smoke_full import PAGE
from benchmarks.time_estimate import of_stages

STAGES = [
    Measured(("synthesize", "mnist"), seconds=90.0, cpu_seconds=170.0, peak_bytes=7 * GIB),
    Measured(("report",), seconds=0.94, cpu_seconds=0.9, peak_bytes=GIB // 2),
]


def test_the_record_holds_what_ran_and_what_was_checked(tmp_path: Path) -> None:
    table = table_of(STAGES, {})
    head = heading(PAGE, table, threads=2, load=0.25)
    write_record(tmp_path / "smoke_full", table, ["mnist: 10 classes"], head=head)
    page = (tmp_path / "smoke_full.md").read_text(encoding="utf-8")
    assert "2 threads, load 0.2 at the start" in page and "2 stages, 1.5 minutes" in page and "at most 7.0 GiB" in page
    assert page.rstrip().endswith("- mnist: 10 classes")
    assert pd.read_csv(tmp_path / "smoke_full.csv").stage.tolist() == ["synthesize mnist", "report"]


def test_what_the_estimate_is_compared_with_leaves_out_the_imports_of_stages_with_a_model() -> None:
    found = of_stages(table_of(STAGES, {}), imports=10.0)
    assert {stage: round(seconds, 6) for stage, seconds in found.items()} == {"synthesize": 160.0, "other stages": 0.9}
