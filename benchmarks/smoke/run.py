"""Runs a prepared pipeline twice: the first run is measured and checked, the second one should do nothing.

Or rehearses it before it runs, and compares both.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmarks.smoke.checks import SmokeError, check_results
from benchmarks.smoke.pipeline import Pipeline
from benchmarks.smoke.record import table_of
from benchmarks.smoke.sizes import Size
from benchmarks.time_estimate import compared
from gift_core.config.loading import load_config
from gift_core.doctor.finding import Project


def measured_run(pipeline: Pipeline, size: Size) -> tuple[pd.DataFrame, Sequence[str]]:
    """Returns the table of time and memory, and the checks that passed. Raises if a stage or a check fails."""
    table = table_of(pipeline.repro())
    lines = list(check_results(pipeline, size))
    again = pipeline.repro()
    if again:
        raise SmokeError(f"a second `dvc repro` should run nothing, it ran {', '.join(each.stage for each in again)}")
    return table, [*lines, "a second `dvc repro` runs nothing"]


def rehearsed(pipeline: Pipeline) -> int:
    """Prints what a rehearsal said of the run, beside the run. Returns the exit code."""
    pipeline.rehearse()
    print("\n".join(compared(Project(pipeline.folder, load_config(pipeline.folder / "params.yaml")))))
    return 0
