"""Writes the table of a smoke run as a CSV file and as a page."""

from __future__ import annotations

import datetime
import math
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from benchmarks.smoke.measure import Measured

GIB = 2**30
PACKAGES = ("torch", "open_clip_torch", "diffusers", "transformers", "dvc")


def table_of(stages: Sequence[Measured]) -> pd.DataFrame:
    """Returns one row per stage, in their order: stage, seconds, cpu_seconds, peak_gib."""
    rows = [(each.stage, each.seconds, each.cpu_seconds, each.peak_bytes / GIB) for each in stages]
    return pd.DataFrame(rows, columns=["stage", "seconds", "cpu_seconds", "peak_gib"])


def write_record(path: Path, table: pd.DataFrame, lines: Sequence[str], *, head: str) -> None:
    """Writes `path`.csv and `path`.md. The page begins with `head`. `lines`: the checks that passed."""
    table.to_csv(path.with_suffix(".csv"), index=False, float_format="%.2f")
    text = "\n".join([head, *markdown(table), "", "What was checked:", "", ""])
    path.with_suffix(".md").write_text(text + "\n".join(f"- {line}" for line in lines) + "\n", encoding="utf-8")


def heading(page: str, table: pd.DataFrame, *, threads: int, load: float) -> str:
    """Returns `page`, the beginning of a record, with the date, machine and versions, and what ran."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return page.format(
        date=datetime.date.today(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        threads=threads,
        load=load,
        versions=versions,
        stages=len(table),
        minutes=table.seconds.sum() / 60,
        cpu_minutes=table.cpu_seconds.sum() / 60,
        peak=table.peak_gib.max(),
    )


def markdown(table: pd.DataFrame) -> list[str]:
    """Returns the lines of the Markdown table."""
    head = ["| stage | s | processor s | peak GiB |", "|---|---|---|---|"]
    return head + [f"| {row.stage} | {' | '.join(map(_figure, row[2:]))} |" for row in table.itertuples()]


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"
