"""Every stage beside a naive way of doing its work, and beside the least that the work takes: `make bench`.

    python -m benchmarks.bench                     # the miniature models
    python -m benchmarks.bench --size full         # ViT-B/16 and a pipeline in the shape of SD v1.5, random weights
    python -m benchmarks.bench --stages teach evaluate --device cuda --precision amp_bf16

- naive (benchmarks/beside/works.py): one image or text at a time, 77 tokens a text, the teacher in the training loop,
  fp32.
- ours: the function that the stage calls, with the CLIP in `--precision`.
- limit: the forward passes alone, on tensors that are ready; of ingest, decoding and copying; of synthesize, the
  pipeline alone; of finetune, its matrix products at the rate of a large one that is measured in the same round.

Every round runs all of them, one after the other, so that other load on the machine affects all. Ratios are medians
over the rounds. On a CPU the seconds are processor time of one thread. What a stage has is written at once to
bench.json and bench.md: an interrupted run loses only the stage that it was measuring.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.beside.inputs import SIZES, inputs_of
from benchmarks.beside.works import STAGES, Ways
from gift_core.clip.device import resolve_device, wait_for
from gift_core.clip.encoding import AUTOCAST
from gift_core.clip.model import PRECISIONS
from gift_core.errors import GiftError, lookup

SQUARE = 2048  # rows of the matrices whose product gives the rate
Row = dict[str, Any]


def main() -> int:
    """Measures the stages one after the other. Returns the exit code."""
    choices = parse()
    choices.out.mkdir(parents=True, exist_ok=True)
    try:
        for name in choices.stages:
            lookup(STAGES, name, "--stages")
        device = resolve_device(choices.device)
        for name in choices.stages:
            row = measured(name, choices.size, device, choices.precision, choices.rounds)
            record(choices.out, row)
            print(line(row))
    except GiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the CLIP in ours and in the limit")
    parser.add_argument("--rounds", type=int, help="[default: 5 of mini, 3 of full], after one that warms up")
    parser.add_argument("--out", type=Path, default=Path(".gift/benchmarks"))
    return parser.parse_args()


def measured(stage: str, size: str, device: torch.device, precision: str = "fp32", rounds: int | None = None) -> Row:
    """Returns the row of a stage: seconds per image, pair or iteration in each way, and the ratios with quartiles."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        inputs = inputs_of(size, device, Path(folder), precision)
        ways = STAGES[stage](inputs)
        count = 1 + (rounds or inputs.size.rounds)
        seconds_R3 = np.array([_round(ways, device, precision) for _ in range(count)][1:])  # the first warms up
    naive_R, ours_R, limit_R = seconds_R3.T
    seconds = dict(zip(("naive", "ours", "limit"), np.median(seconds_R3, axis=0) / ways.count, strict=True))
    ratios = {"faster": _quartiles(naive_R / ours_R), "share_of_limit": _quartiles(limit_R / ours_R)}
    what = {"stage": stage, "size": size, "precision": precision, "unit": ways.unit, **_machine(device)}
    return {**what, "seconds": seconds, **ratios}


def _round(ways: Ways, device: torch.device, precision: str) -> tuple[float, float, float]:
    naive, ours = _seconds(ways.naive, device), _seconds(ways.ours, device)
    if ways.limit is not None:
        return naive, ours, _seconds(ways.limit, device)
    matrix = torch.randn(SQUARE, SQUARE, device=device, dtype=AUTOCAST.get(precision))
    product = _seconds(lambda: matrix @ matrix, device)
    return naive, ours, product * ways.operations / (2 * SQUARE**3)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Processor time on a CPU; on other devices the time until the device has finished."""
    if device.type == "cpu":
        started = time.process_time()
        work()
        return time.process_time() - started
    wait_for(device)
    started = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - started


def _quartiles(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in np.quantile(values, [0.5, 0.25, 0.75])]


def _machine(device: torch.device) -> Row:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    return {"device": name, "machine": system, "date": str(datetime.date.today())}


def record(out: Path, row: Row) -> None:
    """Puts the row in bench.json, in the place of an older one of the same kind, and writes the table."""
    file, key = out / "bench.json", ("stage", "size", "device", "precision")
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    rows = [old for old in rows if any(old[name] != row[name] for name in key)] + [row]
    rows.sort(key=lambda each: (each["size"], each["device"], each["precision"], list(STAGES).index(each["stage"])))
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    head = (
        "| stage | size | device | precision | s, naive | s, ours | naive / ours | limit / ours |\n" + "|---" * 8 + "|"
    )
    page = [
        "# Every stage beside a naive way and beside the least",
        "",
        "`make bench` explains the columns: benchmarks/bench.py.",
        "",
    ]
    machines = "; ".join(dict.fromkeys(f"{each['machine']}, {each['date']}" for each in rows))
    (out / "bench.md").write_text("\n".join([*page, f"{machines}.", "", head, *map(line, rows), ""]), encoding="utf-8")


def line(row: Row) -> str:
    """Returns a row of the table. Seconds are for one image, pair or iteration; ratios have their quartiles."""
    seconds, faster, share = row["seconds"], row["faster"], row["share_of_limit"]
    ratios = " | ".join("{:.2f} ({:.2f} to {:.2f})".format(*each) for each in (faster, share))
    what = f"{row['stage']} ({row['unit']})"
    where = f"{row['size']} | {row['device']} | {row['precision']}"
    return f"| {what} | {where} | {seconds['naive']:.3g} | {seconds['ours']:.3g} | {ratios} |"


if __name__ == "__main__":
    sys.exit(main())
