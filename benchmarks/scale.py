"""What the paper's benchmark with all methods takes on 1 to 512 GPUs, and what a million images take: arithmetic.

    python -m benchmarks.scale                                     # prints tables; docs/scaling.md has their figures
    python -m benchmarks.scale --teraflops 20 --start-seconds 30   # another GPU, slower starts

Nothing is measured here. The time of a stage is the number of its operations, which torch counts on its meta device
(benchmarks/smoke/work.py), divided by what a GPU sustains, and the start of its process. The order is that of `gift
run` (gift_core.execution.schedule): a free GPU takes the stage with the longest path behind it, and one process records
finished stages one after another.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Mapping
from itertools import product

from benchmarks.smoke.sizes import FULL
from benchmarks.smoke.work import parts, totals
from gift_core.doctor.operations import GUIDED
from gift_core.execution.schedule import Schedule

METHODS, TASKS, SEEDS = 23, 11, 3
PAIRS, ITERATIONS, TEST_IMAGES = 1000, 1000, 97_209  # of MTIL: per task, per task, of all tasks together
GPUS = (1, 8, 64, 512)
IMAGES = (10**6, 10**8)
SAMPLINGS = {"50 steps with guidance": (50, GUIDED), "20 steps with guidance": (20, GUIDED), "4 steps without": (4, 1)}
HASHED = {"finetune": 1.0, "synthesize": 1.0}  # seconds of hashing a model of 0.6 GB, and 1,000 PNGs of 0.5 GB
HOUR = 3600
Graph = dict[str, list[str]]


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--teraflops", type=float, default=100.0, help="10^12 operations per second that a GPU sustains"
    )
    parser.add_argument("--start-seconds", type=float, default=10.0, help="until a stage begins its work")
    parser.add_argument("--record-seconds", type=float, default=0.05, help="of recording a stage without its hashes")
    choices = parser.parse_args()
    part = parts(FULL)
    graph, seconds = mtil(part, choices.teraflops, choices.start_seconds)
    work, one = sum(seconds.values()), 0.0
    print(f"{len(graph):,} stages, {work / HOUR:.1f} GPU hours, longest path {longest_hours(graph, seconds):.2f} h\n")
    print("| GPUs | hours | speed-up | GPUs in use |\n|---|---|---|---|")
    for gpus in GPUS:
        wall = run_seconds(graph, seconds, gpus=gpus, record_seconds=choices.record_seconds)
        one = one or wall
        print(f"| {gpus} | {wall / HOUR:.2f} | {one / wall:.1f} | {work / wall / gpus:.0%} |")
    print(f"\n| images | {' | '.join(SAMPLINGS)} |\n|---|{'---|' * len(SAMPLINGS)}")
    for images in IMAGES:
        hours = [images * sampled(part, *each) / choices.teraflops / HOUR for each in SAMPLINGS.values()]
        print(f"| {images:,} | {' | '.join(f'{each:,.0f} GPU hours' for each in hours)} |")


def mtil(part: Mapping[str, float], teraflops: float, start_seconds: float) -> tuple[Graph, dict[str, float]]:
    """Returns the stages that use a GPU, with those that each waits for, and their times in seconds.

    Every method is counted as gift. Images are generated once per seed.
    """
    total = totals(part)
    operations = {
        "synthesize": PAIRS * total["an image, 50 steps"],
        "teach": PAIRS * (part["image tower"] + part["text tower"]),
        "finetune": ITERATIONS * total["an iteration of gift"],
        "evaluate": TEST_IMAGES * part["image tower"],
    }
    graph: Graph = {}
    for seed, task in product(range(SEEDS), range(TASKS)):
        graph[f"synthesize {seed} {task}"] = []
        for method in range(METHODS):
            here, before = f"{seed} {method} {task}", f"{seed} {method} {task - 1}"
            earlier = {stage: [f"{stage} {before}"] if task else [] for stage in ("finetune", "evaluate")}
            graph[f"teach {here}"] = [f"synthesize {seed} {task}", *earlier["finetune"]]
            graph[f"finetune {here}"] = [f"teach {here}", *earlier["finetune"]]
            graph[f"evaluate {here}"] = [f"finetune {here}", *earlier["evaluate"]]
    return graph, {name: start_seconds + operations[name.split()[0]] / teraflops for name in graph}


def run_seconds(graph: Graph, seconds: Mapping[str, float], *, gpus: int, record_seconds: float) -> float:
    """Returns the time until all stages are recorded. A stage is ready when all that it waits for are recorded."""
    schedule, now, recorder, free = Schedule(graph, seconds), 0.0, 0.0, gpus
    ends: list[tuple[float, bool, str]] = []  # (time, whether the stage is recorded then, stage)
    while True:
        for name in schedule.ready()[:free]:
            schedule.start(name)
            free -= 1
            heapq.heappush(ends, (now + seconds[name], False, name))
        if not ends:
            return now
        now, is_recorded, name = heapq.heappop(ends)
        if is_recorded:
            schedule.finish(name)
        else:
            free += 1
            recorder = max(now, recorder) + record_seconds + HASHED.get(name.split()[0], 0.0)
            heapq.heappush(ends, (recorder, True, name))


def longest_hours(graph: Graph, seconds: Mapping[str, float]) -> float:
    """Returns the time on any number of GPUs, if nothing is recorded."""
    return Schedule(graph, seconds).seconds_left({}, workers=len(graph)) / HOUR


def sampled(part: Mapping[str, float], steps: int, passes: int) -> float:
    """Returns the operations (10^12) of an image with this number of steps and of passes of the UNet in each."""
    return steps * passes * part["UNet"] + part["decoder"]


if __name__ == "__main__":
    main()
