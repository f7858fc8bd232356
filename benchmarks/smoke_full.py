"""Runs `dvc repro` at full size with random weights, and measures time and memory of every stage.

    python -m benchmarks.smoke_full              # ViT-B/16 and the shape of Stable Diffusion v1.5: ten minutes, 24 GiB
    python -m benchmarks.smoke_full --size cut   # the same architectures with fewer and narrower layers: a minute

Works in .gift/smoke_full or .gift/smoke_cut. models/ is made once, run/ is made again each time. --record names the
folder for smoke_full.csv and smoke_full.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.smoke.checks import SmokeError
from benchmarks.smoke.data import make_data
from benchmarks.smoke.experiment import GENERATOR, METHODS, MODEL, smoke_experiment
from benchmarks.smoke.pipeline import Pipeline
from benchmarks.smoke.random_models import require_models
from benchmarks.smoke.record import heading, markdown, write_record
from benchmarks.smoke.run import measured_run, rehearsed
from benchmarks.smoke.sizes import SIZES
from gift_core.errors import GiftError

PAGE = """\
# The pipeline at full size on a CPU, with random weights

`make smoke-full`, {date}, {machine}, threads: {threads}, load {load:.1f} at the start; {versions}.

CLIP ViT-B/16 (149.6M parameters) and a pipeline in the shape of Stable Diffusion v1.5 (UNet 859.5M, VAE 83.7M, text
encoder 123.1M, 512 px, float32), both with random weights. `dvc repro` runs presets/mtil_order_1.yaml, reduced to two
tasks in their official layouts, {images} prompts, 2 denoising steps, and {iterations} training iterations of 4 + 2
images. The accuracies have no meaning.

{stages} stages, {minutes:.1f} minutes in them ({cpu_minutes:.1f} of processor time), at most {peak:.1f} GiB.

Peak is the resident memory of the process of the stage, including memory-mapped weights.
"""


def main() -> int:
    """Runs the pipeline, checks the results, prints and records the table. Returns the exit code."""
    choices = parse()
    folder = choices.folder or Path(".gift") / f"smoke_{choices.size}"
    load = os.getloadavg()[0]
    try:
        pipeline = prepared(folder, choices)
        if choices.rehearse:
            return rehearsed(pipeline)
        table, lines = measured_run(pipeline, SIZES[choices.size])
    except (GiftError, SmokeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(["", *markdown(table), "", *(f"ok: {line}" for line in lines)]))
    if choices.record:
        page = PAGE.replace("{images}", str(choices.images)).replace("{iterations}", str(choices.iterations))
        head = heading(page, table, threads=choices.threads, load=load)
        write_record(choices.record / "smoke_full", table, lines, head=head)
        print(f"Written: {choices.record / 'smoke_full.md'}")
    return 0


def prepared(folder: Path, choices: argparse.Namespace) -> Pipeline:
    """Returns the pipeline of the options, with its models and its raw data."""
    size = SIZES[choices.size]
    print(f"Models with random weights in {folder / 'models'} ...", flush=True)
    clip, diffusion = require_models(folder / "models", size)
    experiment = smoke_experiment(size, choices.methods, images=choices.images, iterations=choices.iterations)
    pipeline = Pipeline(folder / "run", experiment, threads=choices.threads)
    pipeline.prepare({MODEL: clip, GENERATOR: diffusion}, make_data)
    return pipeline


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="methods of the preset to run")
    parser.add_argument("--images", type=int, default=2, help="generated images of each task")
    parser.add_argument("--iterations", type=int, default=2, help="training iterations of each task")
    parser.add_argument("--rehearse", action="store_true", help="compare a rehearsal with the run (time_estimate.md)")
    parser.add_argument("--threads", type=int, default=cores, help="number of threads of each stage")
    parser.add_argument("--folder", type=Path, help="the folder to work in (default: .gift/smoke_<size>)")
    parser.add_argument("--record", type=Path, help="the folder to write the tables to, usually benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
