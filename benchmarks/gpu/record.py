"""Writes the table of throughput as benchmarks/throughput.csv and .md."""

from __future__ import annotations

import datetime
import math
import platform
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

PAGE = """\
# Throughput of {card}

`python -m benchmarks.throughput{options}`, {date}, {system}, torch {torch} (CUDA {cuda}), diffusers {diffusers}.

CLIP ViT-B/16 and a pipeline in the shape of Stable Diffusion v1.5{cut}, both with random weights. Loading and saving
the models are excluded. Peak is the GPU memory of tensors. Rows without numbers did not fit in memory.

"""


def write_record(folder: Path, table: pd.DataFrame, *, device: str, size: str) -> None:
    """Writes throughput.csv and throughput.md into `folder`, with the name of the GPU."""
    table.to_csv(folder / "throughput.csv", index=False, float_format="%.3f")
    page = PAGE.format(
        card=torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or device,
        options="" if (device, size) == ("cuda", "full") else f" --device {device} --size {size}",
        date=datetime.date.today(),
        system=f"{platform.system()} {platform.machine()}",
        torch=torch.__version__,
        cuda=torch.version.cuda or "none",
        diffusers=version("diffusers"),
        cut="" if size == "full" else ", both reduced in depth and width (the numbers mean nothing)",
    )
    (folder / "throughput.md").write_text(page + "\n".join(markdown(table)) + "\n", encoding="utf-8")


def markdown(table: pd.DataFrame) -> list[str]:
    """Returns the lines of the Markdown table."""
    head = ["| | setting | batch size | per second | peak GiB |", "|---|---|---|---|---|"]
    return head + [
        f"| {row.what} | {row.setting} | {row.batch} | {figure(row.per_second)} | {figure(row.peak_gib)} |"
        for row in table.itertuples()
    ]


def figure(value: float | None) -> str:
    """Returns the number with two decimals, or an empty text for a missing one."""
    return "" if value is None or math.isnan(value) else f"{value:.2f}"
