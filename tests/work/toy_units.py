"""A stage of units that write a file each: `python -m tests.work.toy_units FOLDER COUNT`.

The files FOLDER/hold-stage and FOLDER/hold-helpers make the stage and its helpers wait in the middle of a unit, and
FOLDER/fail-3 makes unit 3 raise a UserError.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gift_core.errors import UserError
from gift_core.work import spread as module
from gift_core.work.publishing import write_atomically
from gift_core.work.spread import spread
from stages.dvc.interruption import interruptible


def load(folder: Path, stage: int) -> Callable[[int], int]:
    """Returns what computes a unit in this process."""
    return partial(compute, folder, stage)


def compute(folder: Path, stage: int, unit: int) -> int:
    """Writes the file of the unit, and returns the number of this process."""
    with write_atomically(folder / "out" / f"{unit}.txt") as unfinished:
        unfinished.write_text("half")
        pause(folder, "stage" if os.getpid() == stage else "helpers")
        if (folder / f"fail-{unit}").exists():
            raise UserError(f"unit {unit} is wrong")
        unfinished.write_text(f"unit {unit} with {os.environ['OMP_NUM_THREADS']} threads in {Path.cwd()}")
    return os.getpid()


def pause(folder: Path, who: str) -> None:
    """Notes that this process has begun a unit, and waits while the file hold-stage or hold-helpers exists."""
    (folder / who / str(os.getpid())).touch()
    while (folder / f"hold-{who}").exists():
        time.sleep(0.02)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Computes the units, and prints those of helpers."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    module.PATIENCE_SECONDS = module.SETTLE_SECONDS = 0.1
    by: dict[int, int] = {}
    load_here = partial(load, folder, os.getpid())
    with interruptible(), spread(range(count), load_here, take=by.__setitem__, say=say) as work:
        for units in work.rounds():
            for unit in units:
                compute(folder, os.getpid(), unit)
    say(f"helpers computed {len(by)} of {count}")
    say(f"ray is {'imported' if 'ray' in sys.modules else 'not imported'}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
