"""On a GPU: images generated per second by batch size, and training iterations per second at the batch of the paper.

    python -m benchmarks.throughput                            # the full size on the GPU there is, 15 minutes
    python -m benchmarks.throughput --device cpu --size cut    # the same code in a minute; its figures mean nothing

The models have random weights, made once in .gift/smoke_<size>/models: no hub, and the same work. Images: 50 steps at
512 px, guidance 7.5, float16, loading left out. Training: 64 images of a task of 100 classes and 64 pairs a step; the
stage finetune runs twice, with few and with many steps, and the difference counts, so that loading and saving are left
out. Both with all the data work that the stages do. Writes throughput.csv and throughput.md into the folder --record.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.gpu.generation import generation_rows
from benchmarks.gpu.plan import PLANS
from benchmarks.gpu.record import markdown, write_record
from benchmarks.gpu.training import training_rows
from benchmarks.smoke.random_models import require_models
from benchmarks.smoke.sizes import SIZES
from gift_core.errors import GiftError

NO_GPU = "No GPU is to be had here, so nothing was measured. --device cpu --size cut tries the code out."


def main() -> int:
    """Measures, prints, records; returns the exit code. Without a GPU there is nothing to do, which is no error."""
    choices = parse()
    import torch

    if choices.device == "cuda" and not torch.cuda.is_available():
        print(NO_GPU)
        return 0
    try:
        table = measure(choices)
    except GiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(markdown(table)))
    if choices.record:
        write_record(choices.record, table, device=choices.device, size=choices.size)
        print(f"Written: {choices.record / 'throughput.md'}")
    return 0


def measure(choices: argparse.Namespace) -> pd.DataFrame:
    """Returns a row a measurement: what, setting, batch, per_second, peak_gib (of the GPU's memory)."""
    size, plan = SIZES[choices.size], PLANS[choices.size]
    models = require_models(choices.models or Path(".gift") / f"smoke_{choices.size}" / "models", size)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *generation_rows(models[1], size, plan, device=choices.device),
            *training_rows(models[0], size, plan, device=choices.device, root=Path(folder)),
        ]
    return pd.DataFrame(rows, columns=["what", "setting", "batch", "per_second", "peak_gib"])


def parse() -> argparse.Namespace:
    """Returns the command line's choices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "mps", "cpu"), default="cuda")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--models", type=Path, help="where the models lie, or are made, instead")
    parser.add_argument("--record", type=Path, help="where the figures go, usually benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
