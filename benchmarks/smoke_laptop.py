"""Runs `dvc repro` of presets/laptop.yaml with random weights, and measures time and memory of every stage.

Works in .gift/smoke_laptop. hub/, a cache of the Hugging Face hub, is made once, run/ is made again each time. --record
names the folder for smoke_laptop.csv and smoke_laptop.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.experiment import choose_methods
from benchmarks.smoke.checks import SmokeError
from benchmarks.smoke.laptop import SIZE, laptop_experiment, make_laptop_data, write_hub
from benchmarks.smoke.pipeline import Pipeline
from benchmarks.smoke.record import heading, markdown, write_record
from benchmarks.smoke.run import measured_run, rehearsed
from gift_core.errors import GiftError
from gift_core.work.publishing import require_free_bytes

BYTES_NEEDED = 8_000_000_000  # the models, twice a model for each method and task, DVC's cache
PAGE = """\
# presets/laptop.yaml on a CPU, with random weights

`make smoke-laptop`, {date}, {machine}, threads: {threads}, load {load:.1f} at the start; {versions}.

TinyCLIP 40M/32 (84.2M parameters) and SDXS-512 DreamShaper (UNet 315.7M, tiny autoencoder 2.4M, text encoder 123.1M,
512 px, float32, one step) in the configurations of their repositories, both with random weights. `dvc repro` runs the
preset with two of its tasks, {images} images a task, {iterations} training iterations of 32 + {images} images, and 50
names in the base vocabulary. The accuracies have no meaning.

{stages} stages, {minutes:.1f} minutes in them ({cpu_minutes:.1f} of processor time), at most {peak:.1f} GiB.

Peak is the resident memory of the process of the stage.
"""


def main() -> int:
    """Runs the pipeline, checks the results, prints and records the tables. Returns the exit code."""
    choices = parse()
    load = os.getloadavg()[0]
    try:
        require_free_bytes(choices.folder, BYTES_NEEDED, "the models and results of the smoke run")
        hub = choices.folder / "hub"
        write_hub(hub)
        experiment = laptop_experiment(images=choices.images, iterations=choices.iterations)
        if choices.methods:
            choose_methods(experiment, {name: experiment["methods"][name] for name in choices.methods})
        pipeline = Pipeline(
            choices.folder / "run",
            experiment,
            threads=choices.threads,
            environment={"HF_HUB_CACHE": str(hub.resolve())},
        )
        pipeline.prepare({}, make_laptop_data)
        if choices.rehearse:
            return rehearsed(pipeline)
        table, lines = measured_run(pipeline, SIZE)
    except (GiftError, SmokeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(["", *markdown(table), "", *(f"ok: {line}" for line in lines)]))
    if choices.record:
        page = PAGE.replace("{images}", str(choices.images)).replace("{iterations}", str(choices.iterations))
        head = heading(page, table, threads=choices.threads, load=load)
        write_record(choices.record / "smoke_laptop", table, lines, head=head)
        print(f"Written: {choices.record / 'smoke_laptop.md'}")
    return 0


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2, help="generated images of each task")
    parser.add_argument("--iterations", type=int, default=2, help="training iterations of each task")
    parser.add_argument("--methods", nargs="+", help="methods of the preset to run (default: all of them)")
    parser.add_argument("--threads", type=int, default=cores, help="number of threads of each stage")
    parser.add_argument("--rehearse", action="store_true", help="compare a rehearsal with the run (time_estimate.md)")
    parser.add_argument("--folder", type=Path, default=Path(".gift/smoke_laptop"), help="the folder to work in")
    parser.add_argument("--record", type=Path, help="the folder to write the tables to, usually benchmarks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
