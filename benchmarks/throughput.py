"""On a GPU: images generated per second by batch size, and training iterations per second at the batch of the paper.

    python -m benchmarks.throughput                            # full size on the GPU, 15 minutes
    python -m benchmarks.throughput --device cpu --size cut    # the same code in a minute; the numbers mean nothing

The models have random weights, which are made once in .gift/smoke_<size>/models. They take as much time as the real
ones and need no download. Images: 50 denoising steps at 512 px, guidance 7.5, float16, without loading the pipeline.
Training: 64 images of a task with 100 classes and 64 pairs per iteration, including the data loading. The stage
finetune runs with few and with many iterations. The difference excludes loading and saving the model.
--record names the folder for throughput.csv and throughput.md, which are written after each measurement. --parts runs
some of the parts, for example `--parts images` or `--parts amp_bf16`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pandas as pd

from benchmarks.gpu.generation import generation_rows
from benchmarks.gpu.plan import PLANS
from benchmarks.gpu.record import markdown, write_record
from benchmarks.gpu.training import training_rows
from benchmarks.smoke.random_models import require_models
from benchmarks.smoke.sizes import SIZES
from gift_core.errors import GiftError, lookup

IMAGES = "images"  # the part that generates images; the others are precisions of training
NO_GPU = "No GPU is available, so nothing was measured. To try the code, use --device cpu --size cut."


def main() -> int:
    """Measures, prints and records. Returns the exit code, which is 0 if there is no GPU to measure."""
    choices = parse()
    import torch

    if choices.device.startswith("cuda") and not torch.cuda.is_available():
        print(NO_GPU)
        return 0
    try:
        table = measure(choices)
    except GiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(markdown(table)))
    if choices.record:
        print(f"Written: {choices.record / 'throughput.md'}")
    return 0


def measure(choices: argparse.Namespace) -> pd.DataFrame:
    """Returns one row per measurement: what, setting, batch, per_second, peak_gib (GPU memory).

    With --record the table so far is written after each row.
    """
    table = pd.DataFrame()
    for table in tables(choices):
        if choices.record:
            write_record(choices.record, table, device=choices.device, size=choices.size)
    return table


def tables(choices: argparse.Namespace) -> Iterator[pd.DataFrame]:
    """Yields the table of the rows so far, after each measurement."""
    size, plan = SIZES[choices.size], PLANS[choices.size]
    parts = choices.parts or [IMAGES, *plan.precisions]
    for part in parts:
        lookup({name: name for name in (IMAGES, *plan.precisions)}, part, "--parts")
    plan = replace(plan, precisions=tuple(part for part in parts if part != IMAGES))
    models = require_models(choices.models or Path(".gift") / f"smoke_{choices.size}" / "models", size)
    with tempfile.TemporaryDirectory() as folder:
        generation = generation_rows(models[1], size, plan, device=choices.device) if IMAGES in parts else ()
        training = training_rows(models[0], size, plan, device=choices.device, root=Path(folder))
        rows = []
        for row in chain(generation, training if plan.precisions else ()):
            rows.append(row)
            yield pd.DataFrame(rows, columns=["what", "setting", "batch", "per_second", "peak_gib"])


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, mps, or cpu to try the code")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="images, fp32, amp_bf16 (default: all)")
    parser.add_argument("--models", type=Path, help="the folder of the models, which are made if missing")
    parser.add_argument("--record", type=Path, help="the folder to write the tables to, usually benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
