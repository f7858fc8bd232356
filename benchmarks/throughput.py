"""On a GPU: images generated per second by batch size, and training iterations per second at the batch of the paper.

    python -m benchmarks.throughput                            # full size on the GPU, 15 minutes
    python -m benchmarks.throughput --device cpu --size cut    # the same code in a minute; the numbers mean nothing

The models have random weights, which are made once in .gift/smoke_<size>/models. They take as much time as the real
ones and need no download. Images: 50 denoising steps at 512 px, guidance 7.5, float16, without loading the pipeline.
Training: 64 images of a task with 100 classes and 64 pairs per iteration, including the data loading. The stage
finetune runs with few and with many iterations. The difference excludes loading and saving the model.
--record names the folder for throughput.csv and throughput.md.
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

NO_GPU = "No GPU is available, so nothing was measured. To try the code, use --device cpu --size cut."


def main() -> int:
    """Measures, prints and records. Returns the exit code, which is 0 if there is no GPU to measure."""
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
    """Returns one row per measurement: what, setting, batch, per_second, peak_gib (GPU memory)."""
    size, plan = SIZES[choices.size], PLANS[choices.size]
    models = require_models(choices.models or Path(".gift") / f"smoke_{choices.size}" / "models", size)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *generation_rows(models[1], size, plan, device=choices.device),
            *training_rows(models[0], size, plan, device=choices.device, root=Path(folder)),
        ]
    return pd.DataFrame(rows, columns=["what", "setting", "batch", "per_second", "peak_gib"])


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "mps", "cpu"), default="cuda")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--models", type=Path, help="the folder of the models, which are made if missing")
    parser.add_argument("--record", type=Path, help="the folder to write the tables to, usually benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
