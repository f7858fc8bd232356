"""The table of the smoke run: measurements, and estimates for some stages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.smoke.measure import Measured
from benchmarks.smoke.record import GIB, table_of, write_record

STAGES = [
    Measured(("synthesize", "mnist"), seconds=90.0, cpu_seconds=170.0, peak_bytes=7 * GIB),
    Measured(("report",), seconds=0.94, cpu_seconds=0.9, peak_bytes=GIB // 2),
]


def test_the_record_holds_what_ran_and_what_was_checked(tmp_path: Path) -> None:
    table = table_of(STAGES, {})
    write_record(tmp_path, table, ["mnist: 10 classes"], threads=2, load=0.25)
    page = (tmp_path / "smoke_full.md").read_text(encoding="utf-8")
    assert "2 threads, load 0.2 at the start" in page and "2 stages, 1.5 minutes" in page and "at most 7.0 GiB" in page
    assert page.rstrip().endswith("- mnist: 10 classes")
    assert pd.read_csv(tmp_path / "smoke_full.csv").stage.tolist() == ["synthesize mnist", "report"]
