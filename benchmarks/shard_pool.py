"""How the throughput of a stage's units grows with its helpers (gift_core.work.spread). A part of benchmarks/engine.py.

A unit sleeps, as a shard does whose time is that of a GPU, so that workers do not compete for the processor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gift_core.execution.pool import Pool, open_pool
from gift_core.work import spread

ROOT = Path(__file__).resolve().parents[1]
UNIT_SECONDS = 0.5
UNITS = 20  # for each worker
Times = tuple[int, float, float]  # process, start and end of a unit


def load_unit(folder: Path, workers: int) -> Callable[[int], Times]:
    """Returns a unit that sleeps, as soon as all workers have started."""
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < workers:
        time.sleep(0.05)
    return sleep


def sleep(unit: int) -> Times:
    """Sleeps, and returns when and where."""
    started = time.monotonic()
    time.sleep(UNIT_SECONDS)
    return os.getpid(), started, time.monotonic()


def stage(folder: Path, workers: int) -> list[Times]:
    """Runs all units, here and in the helpers that the environment offers."""
    spread.PATIENCE_SECONDS = spread.SETTLE_SECONDS = 0.0
    found: list[Times] = []
    load = partial(load_unit, folder, workers)
    with spread.spread(range(workers * UNITS), load, take=lambda unit, times: found.append(times)) as work:
        own = load()
        for unit in work:
            found.append(own(unit))
    return found


def throughput(times: Sequence[Times]) -> float:
    """Returns units per second: the sum over all processes, each from its first unit to the end of its last one."""
    total = 0.0
    for process in {each[0] for each in times}:
        own = [each for each in times if each[0] == process]
        total += len(own) / (max(end for _, _, end in own) - min(start for _, start, _ in own))
    return total


def table(workers: Sequence[int]) -> str:
    """Returns the table of the throughput, with all workers on this machine."""
    lines = [
        f"A stage with units of {UNIT_SECONDS} s of sleep, {UNITS} for each worker. One of them is the stage, the\n"
        "others are helpers, with one logical CPU each. Linear is the throughput of one worker times the workers. The\n"
        "start of the helpers is not in it.\n",
        "| workers | units a second | throughput / linear |",
        "|---|---|---|",
    ]
    one = 0.0
    with open_pool(address=None, workers=max(workers), gpus_per_stage=1, use_gpus=False) as pool:
        for number in workers:
            rate = measure(pool, number)
            one = one or rate / number
            lines.append(f"| {number} | {rate:.2f} | **{rate / (one * number):.2f}** |")
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def measure(pool: Pool, workers: int) -> float:
    """Returns units per second of a stage in a process of its own, as `gift run` starts it."""
    with tempfile.TemporaryDirectory() as folder:
        started = Path(folder, "started")
        started.mkdir()
        offer = pool.offer(workers - 1, 1, Path(folder, "waiting"))
        times = Path(folder, "times.json")  # what a process prints may have messages of Ray in it
        command = [sys.executable, "-m", "benchmarks.shard_pool", str(started), str(workers), str(times)]
        subprocess.run(command, env={**os.environ, **offer, "PYTHONPATH": str(ROOT)}, check=True)
        return throughput(json.loads(times.read_text(encoding="utf-8")))


def main() -> None:
    """The stage: writes the times of its units."""
    from benchmarks import shard_pool  # by this name helpers can import it

    started, workers, times = sys.argv[1:]
    Path(times).write_text(json.dumps(shard_pool.stage(Path(started), int(workers))), encoding="utf-8")


if __name__ == "__main__":
    main()
