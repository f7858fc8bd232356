"""Writes the table of the smoke run as benchmarks/smoke_full.csv and .md."""

from __future__ import annotations

import datetime
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from benchmarks.smoke.measure import Measured

GIB = 2**30
PACKAGES = ("torch", "open_clip_torch", "diffusers", "transformers", "dvc")

PAGE = """\
# The pipeline at full size on a CPU, with random weights

`make smoke-full`, {date}, {machine}, {threads} threads, load {load:.1f} at the start; {versions}.

CLIP ViT-B/16 (149.6M parameters) and a pipeline in the shape of Stable Diffusion v1.5 (UNet 859.5M, VAE 83.7M, text
encoder 123.1M, 512 px, float32), both with random weights. `dvc repro` runs presets/mtil_order_1.yaml, reduced to two
tasks in their official layouts, 2 prompts, 2 denoising steps, and 2 training iterations of 4 + 2 images. The accuracies
have no meaning.

{stages} stages, {minutes:.1f} minutes in them ({cpu_minutes:.1f} of processor time), at most {peak:.1f} GiB.

Peak is the resident memory of the process of the stage, including memory-mapped weights. Estimated is the estimate of
`gift doctor` for a GPU without its margin (docs/doctor.md). It counts a CUDA context
instead of Python and its libraries.
"""


def table_of(stages: Sequence[Measured], estimates: Mapping[str, int]) -> pd.DataFrame:
    """Returns one row per stage, in their order: stage, seconds, cpu_seconds, peak_gib, estimated_gib."""
    rows = [
        (each.stage, each.seconds, each.cpu_seconds, each.peak_bytes / GIB, estimates.get(each.stage, math.nan) / GIB)
        for each in stages
    ]
    return pd.DataFrame(rows, columns=["stage", "seconds", "cpu_seconds", "peak_gib", "estimated_gib"])


def write_record(folder: Path, table: pd.DataFrame, lines: Sequence[str], *, threads: int, load: float) -> None:
    """Writes smoke_full.csv and smoke_full.md into `folder`; `lines`: the checks that passed."""
    table.to_csv(folder / "smoke_full.csv", index=False, float_format="%.2f")
    text = "\n".join([heading(table, threads=threads, load=load), *markdown(table), "", "What was checked:", "", ""])
    (folder / "smoke_full.md").write_text(text + "\n".join(f"- {line}" for line in lines) + "\n", encoding="utf-8")


def heading(table: pd.DataFrame, *, threads: int, load: float) -> str:
    """Returns the title of the page, the date, machine and versions, and what ran."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return PAGE.format(
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
    head = ["| stage | s | processor s | peak GiB | estimated |", "|---|---|---|---|---|"]
    return head + [f"| {row.stage} | {' | '.join(map(_figure, row[2:]))} |" for row in table.itertuples()]


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"
