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
from typing import Any

from gift_core.errors import UserError
from gift_core.process_variables import OFFERS
from gift_core.work.publishing import write_atomically
from gift_core.work.spread import spread
from stages.dvc.interruption import interruptible


def load(folder: Path, stage: int) -> Callable[[int], None]:
    """Returns what computes a unit in this process."""
    return partial(compute, folder, stage)


def file_of(folder: Path, unit: int) -> Path:
    return folder / "out" / f"{unit}.txt"


def is_done(folder: Path, unit: int) -> bool:
    return file_of(folder, unit).is_file()


def compute(folder: Path, stage: int, unit: int) -> None:
    """Writes the file of the unit."""
    with write_atomically(file_of(folder, unit)) as unfinished:
        unfinished.write_text("half")
        who = "stage" if os.getpid() == stage else "helpers"
        (folder / who / str(os.getpid())).touch()
        while (folder / f"hold-{who}").exists():
            time.sleep(0.02)
        if (folder / f"fail-{unit}").exists():
            raise UserError(f"unit {unit} is wrong")
        unfinished.write_text(f"unit {unit} with {os.environ['OMP_NUM_THREADS']} threads in {Path.cwd()}")


def main() -> None:
    """Computes the units, and prints those of helpers."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    own, helped = 0, list[int]()
    functions: dict[str, Any] = {"is_done": partial(is_done, folder), "helped": helped.append}
    load_here = partial(load, folder, os.getpid())
    with interruptible(), spread(range(count), load_here, **functions, locks=folder / "locks") as units:
        for offer in Path(os.environ.get(OFFERS, "none")).glob("*.offer"):
            os.utime(offer, (0, 0))  # as if this were a long stage already
        for unit in units:
            compute(folder, os.getpid(), unit)
            own += 1
    sys.stdout.write(f"helpers computed {len(helped)} of {count}, the stage {own}\n")


if __name__ == "__main__":
    from tests.work import toy_units  # a helper imports what it has

    try:
        toy_units.main()
    except UserError as error:
        sys.exit(f"error: {error}")
