"""Lets free workers of `gift run` help a stage with the units of its work, such as shards.

A stage writes an offer into a folder. Where a worker is free that no stage needs, `gift run` starts a helper, which
computes units into the stage's work folder. A unit belongs to the process that holds its lock, which ends with it. So a
lost helper never fails a stage: that computes the unit itself, and raises its error if it has one. Who computes a unit
must not change its result. Under plain `dvc repro` there are no helpers.
"""

from __future__ import annotations

import os
import pickle
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gift_core.process_variables import DVC_STAGE, OFFERS
from gift_core.work.publishing import write_atomically

U = TypeVar("U")
PATIENCE_SECONDS = 20.0  # a helper needs about as long to start, and most stages of the miniature are shorter


def is_offered() -> bool:
    """Returns whether `gift run` lets this process have helpers."""
    return bool(os.environ.get(OFFERS)) and os.name == "posix"  # Windows has other locks


def offers_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields (stage, file) of the offers in a folder that are older than PATIENCE_SECONDS."""
    for file in sorted(folder.glob("[!.]*~*.offer")):
        with suppress(FileNotFoundError):  # it was withdrawn
            if time.time() - file.stat().st_mtime > PATIENCE_SECONDS:
                yield file.name.partition("~")[0], file


@contextmanager
def spread(
    units: Sequence[U],
    load: Callable[[], Callable[[U], object]] | None,
    *,
    is_done: Callable[[U], bool],
    helped: Callable[[U], object],
    locks: Path,
) -> Iterator[Iterator[U]]:
    """Yields an iterator over the units that this process computes. After the last one, all units are done.

    A helper calls `load`, an importable function or a partial of one, and then what it returns with each unit. That
    writes the result into a file, and `is_done` tells whether it is there. `helped` gets each unit of a helper. `locks`
    is a file in the stage's work folder.
    """
    if load is None or not is_offered() or len(units) < 2:
        yield iter(units)
        return
    stage = os.environ.get(DVC_STAGE, "").replace("/", "_")
    left = dict(enumerate(units))
    offer = Path(os.environ[OFFERS], f"{stage}~{secrets.token_hex(4)}.offer")

    def own() -> Iterator[U]:
        while left:
            for number, unit in list(left.items()):
                if _take(file, number):
                    del left[number]
                    if is_done(unit):
                        helped(unit)
                    else:
                        yield unit
            offer.unlink(missing_ok=True)
            time.sleep(0.1 if left else 0)  # helpers have what is left

    with locks.open("ab") as file:
        with write_atomically(offer) as temporary:
            temporary.write_bytes(pickle.dumps((units, load, is_done, locks)))
        try:
            yield own()
        finally:
            offer.unlink(missing_ok=True)


def help_with(offer: Path) -> None:
    """Computes the units of an offer that no other process has, until none is left or the offer is withdrawn."""
    units, load, is_done, locks = pickle.loads(offer.read_bytes())
    compute = load()
    for number, unit in enumerate(units):
        with locks.open("ab") as file:  # whose end gives the unit back
            if offer.exists() and _take(file, number) and not is_done(unit):
                compute(unit)
    offer.unlink(missing_ok=True)


def _take(file: Any, number: int) -> bool:
    """Returns whether this process has the unit now. It may open the file of locks only once at a time."""
    import fcntl

    with suppress(OSError):
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        return True
    return False
