"""A stage that estimates Fisher information in six ranges: `python -m tests.work.toy_fisher FOLDER`.

It writes FOLDER/out/fisher.safetensors, and for each range that somebody has begun FOLDER/ranges/<first pair>-<who>.
The files FOLDER/hold-stage and FOLDER/hold-helpers make the stage and its helpers wait in the middle of a range.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

from gift_core.artifacts.fisher_file import FISHER, Fisher, write_fisher
from gift_core.artifacts.shards import Pair
from gift_core.clip.model import Clip
from gift_core.replay import fisher
from gift_core.work import spread as module
from gift_core.work.units import KeptUnits
from stages.interruption import interruptible
from tests.clip.tiny import png, tiny_clip
from tests.work.toy_units import pause, say

PAIRS, BATCH_SIZE, BATCHES = 22, 2, 2
passes = count()


def load_clip() -> Clip:
    return tiny_clip(seed=3)


def pairs_from(folder: Path, stage: int, first: int) -> Iterator[Pair]:
    """The pairs from number `first` on. In its first pass, the stage reads the prompts only."""
    who = "stage" if os.getpid() == stage else "helpers"
    if who == "helpers" or next(passes):
        (folder / "ranges" / f"{first}-{who}").touch()
        pause(folder, who)
    for number in range(first, PAIRS):
        yield Pair(f"{number:05d}", number, f"a photo of {number} cats.", png(number))


def main() -> None:
    """Estimates and writes."""
    folder = Path(sys.argv[1])
    module.PATIENCE_SECONDS = module.SETTLE_SECONDS = 0.1
    fisher.BATCHES = BATCHES
    work = folder / "work"
    work.mkdir(exist_ok=True)
    with interruptible():
        diagonals = fisher.fisher_of_pairs(
            load_clip(),
            partial(pairs_from, folder, os.getpid()),
            estimator="per_sample",
            batch_size=BATCH_SIZE,
            run=KeptUnits(work, say),
            load_clip=load_clip,
        )
        write_fisher(folder / "out" / FISHER, Fisher(diagonals, "per_sample", "toy"))
    shutil.rmtree(work)  # as real stages do, whether the run was long enough for a snapshot or not


if __name__ == "__main__":
    main()
