"""How two OpenMP threads should wait for each other, alone and beside other processes: `make bench-threads`.

A waiting thread of GNU OpenMP spins for a while: it keeps its core busy, so that it continues at once. Where more
threads run than there are cores, it takes the core from the thread that it waits for. Each case trains the miniature
CLIP in one process alone, in two at once, and in one beside two processes that only count. Rates are relative to one
thread with the default setting, alone, in the same round. Ten minutes on two cores; written to threads.json and
threads.md.

Stages set GOMP_SPINCOUNT=10000 (stages/fork_server.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from gift_core.clip.encoding import encode_images
from gift_core.clip.model import open_folder
from gift_core.losses import task_loss

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "default": {},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
SITUATIONS = ("alone", "two at once", "beside two busy processes")
MODEL = Path("data/mini/clip")
IMAGES = 32
COUNTING = "while True: pass"


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each case")
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    parser.add_argument("--case", action="store_true", help=argparse.SUPPRESS)
    choices = parser.parse_args()
    if choices.case:
        print(iterations_per_second(choices.seconds))
        return
    choices.out.mkdir(parents=True, exist_ok=True)
    load = f"load {os.getloadavg()[0]:.1f} before"
    rows = [row for number in range(choices.rounds) for row in measured_round(number, choices.seconds)]
    where = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {load}"
    write(rows, f"{where}, {choices.rounds} rounds", choices.out)


def measured_round(number: int, seconds: float) -> list[dict[str, object]]:
    """Returns a row for each case: the mean rate of its processes, relative to one thread alone in the same round."""
    rows: list[dict[str, object]] = []
    for threads in (1, 2):
        for setting, variables in SETTINGS.items() if threads == 2 else [("default", {})]:
            for situation in SITUATIONS:
                rate = measured(threads, variables, situation, seconds)
                rows.append({"threads": threads, "setting": setting, "situation": situation, "rate": rate})
                print(f"round {number}: {threads} threads, {setting}, {situation}: {rate:.2f} a second", flush=True)
    return [row | {"ratio": row["rate"] / rows[0]["rate"]} for row in rows]  # type: ignore[operator]


def measured(threads: int, variables: Mapping[str, str], situation: str, seconds: float) -> float:
    """Returns the iterations per second of a process, the mean where two run."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | variables
    command = [sys.executable, __file__, "--case", "--seconds", str(seconds)]
    counting = [subprocess.Popen([sys.executable, "-c", COUNTING]) for _ in range(2 * (situation == SITUATIONS[2]))]
    try:
        count = 2 if situation == SITUATIONS[1] else 1
        running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        return sum(float(process.communicate()[0]) for process in running) / count
    finally:
        for process in counting:
            process.kill()
            process.wait()


def iterations_per_second(seconds: float) -> float:
    """Trains the image tower of the miniature CLIP for some seconds, after two iterations that do not count."""
    clip = open_folder(MODEL, device=torch.device("cpu"), precision="fp32")
    clip.model.train()
    images = torch.rand(IMAGES, 3, clip.image_size, clip.image_size)
    classes = torch.nn.functional.normalize(torch.randn(10, encode_images(clip, images[:1]).shape[1]), dim=1)
    labels = torch.arange(IMAGES) % 10
    optimizer = torch.optim.AdamW(clip.model.visual.parameters(), lr=1e-6, fused=True)

    def iteration() -> None:
        optimizer.zero_grad()
        task_loss(encode_images(clip, images), classes, labels_B=labels, scale=clip.scale.detach()).backward()
        optimizer.step()

    for _ in range(2):
        iteration()
    count, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        iteration()
        count += 1
    return count / (time.monotonic() - started)


def write(rows: Sequence[Mapping[str, object]], where: str, out: Path) -> None:
    """Writes threads.json and threads.md."""
    (out / "threads.json").write_text(json.dumps({"where": where, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    table = pd.DataFrame(rows).groupby(["threads", "setting", "situation"], sort=False)["ratio"].median().unstack()
    shown = table[list(SITUATIONS)].round(2).reset_index().to_markdown(index=False)
    page = f"""# Threads that wait for each other

Iterations per second of a process, relative to one thread alone: medians. `make bench-threads` explains the columns:
benchmarks/threads.py.

{where}.

{shown}
"""
    (out / "threads.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
