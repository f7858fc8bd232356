"""Memory and time of distill_vocabulary with its entropy, forwards and backwards, by the size of the vocabulary.

    python benchmarks/vocabulary.py                   # 64 pairs, 512 numbers a feature, on one thread of the CPU
    python benchmarks/vocabulary.py --device cuda

Each case runs in its own process, so that no allocator keeps memory of another case. Features are random, which does
not change the cost. Prints a table: the first row is `distill` on the same 64 pairs. The last column is the share of
the multiplications that a training step of ViT-B/16 takes (64 task images, 64 replayed images, 64 replayed texts).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

import pandas as pd
import torch
from torch.nn import functional

from gift_core.losses import distill, distill_vocabulary
from gift_core.methods import distill_entropy, distill_vocabulary_entropy

PAIRS, NUMBERS = 64, 512
SIZES = (0, 1_000, 10_000, 100_000)  # texts, and as many images; 0: distill
MIB = 2**20
# ViT-B/16 at 224 px takes about 17.6e9 multiplications per image and 3.0e9 per text of 77 tokens. A backward pass takes
# twice as many as a forward pass.
STEP_MULTIPLICATIONS = 3 * (128 * 17.6e9 + 64 * 3.0e9)
# For both directions: the student's logits, their gradient, the teacher's, and the two of the entropy.
PRODUCTS = 2 * 5


def main() -> None:
    """Measures each case in its own process and prints the table."""
    choices = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices.add_argument("--device", default="cpu")
    choices.add_argument("--case", type=int, help=argparse.SUPPRESS)
    chosen = choices.parse_args()
    if chosen.case is not None:
        print(json.dumps(measured(chosen.case, torch.device(chosen.device))))
        return
    table = pd.DataFrame([in_own_process(size, chosen.device) for size in SIZES])
    print(f"{torch.__version__}, {chosen.device}, load {os.getloadavg()[0]:.1f}")
    print(table.to_string(index=False, float_format="{:.4g}".format))


def in_own_process(size: int, device: str) -> dict[str, Any]:
    """Returns what `measured` returns, from a new process with one thread."""
    command = [sys.executable, __file__, "--device", device, "--case", str(size)]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured(size: int, device: torch.device) -> dict[str, Any]:
    """Returns a row of the table: the peak of memory above that of the features, and the median time of seven runs."""
    image_MD, text_MD = (unit_rows(PAIRS, device).requires_grad_() for _ in range(2))
    vocabulary_PD, known_ND = unit_rows(size or PAIRS, device), unit_rows(size or PAIRS, device)
    ids_M = torch.arange(PAIRS, device=device)

    def run() -> None:
        if size:
            teacher = vocabulary_PD, known_ND, ids_M, ids_M
            loss = distill_vocabulary(image_MD, text_MD, *teacher)
            distill_vocabulary_entropy(*teacher)
        else:
            loss = distill(image_MD, text_MD, known_ND, vocabulary_PD)
            distill_entropy(known_ND, vocabulary_PD)
        loss.backward()
        loss.item()

    small = unit_rows(PAIRS, device).requires_grad_()
    distill(small, small, known_ND[:PAIRS], vocabulary_PD[:PAIRS]).backward()  # torch's own memory
    before = peak_bytes(device)
    run()
    peak = peak_bytes(device) - before
    seconds = sorted(timed(run) for _ in range(7))[3]
    entries = PAIRS * (size or PAIRS)
    return {
        "texts and images": size or "batch",
        "peak_mib": peak / MIB,
        "bytes_per_entry": peak / (2 * entries),
        "milliseconds": 1000 * seconds,
        "share_of_step": PRODUCTS * entries * NUMBERS / STEP_MULTIPLICATIONS,
    }


def unit_rows(count: int, device: torch.device) -> torch.Tensor:
    """Returns random unit features [count, NUMBERS]."""
    return functional.normalize(torch.randn(count, NUMBERS, device=device), dim=1)


def peak_bytes(device: torch.device) -> int:
    """Returns the largest memory of this process until now: on the GPU where it runs there, in all otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(run: Any) -> float:
    """Returns the seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
