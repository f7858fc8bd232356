"""Lets free workers of `gift run` help a stage with the units of its work, such as shards.

A stage that works for PATIENCE_SECONDS writes an offer into a folder. Where a worker is free that no stage needs,
`gift run` starts a helper there, which computes units into the stage's work folder. A unit belongs to the process that
holds its lock, which the system releases when a process is killed. So a lost helper never fails a stage, but a
UserError of a unit does. Who computes a unit must not change its result. Under plain `dvc repro` there are no helpers.
"""

from __future__ import annotations

import math
import os
import pickle
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Generic, TypeVar

from gift_core.errors import UserError
from gift_core.work.publishing import write_atomically

try:
    import fcntl
except ImportError:  # Windows has other locks: there are no helpers
    fcntl = None  # type: ignore[assignment]

U = TypeVar("U")
OFFERS = "GIFT_OFFERS"  # the folder for offers, in the environment of a stage that `gift run` has started
STAGE = "DVC_STAGE"
PATIENCE_SECONDS = 20.0  # a helper needs about as long to start, and most stages of the miniature are shorter
POLL_SECONDS = 0.1


def is_offered() -> bool:
    """Returns whether `gift run` lets this process have helpers."""
    return bool(os.environ.get(OFFERS)) and fcntl is not None


def offers_of(folder: Path) -> list[tuple[str, Path]]:
    """Returns (stage, file) of the offers in a folder."""
    return [(file.name.partition("~")[0], file) for file in sorted(folder.glob("[!.]*~*.offer"))]


class Locks:
    """A lock for each unit, all in one file. A process must open it only once at a time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def take(self, number: int) -> bool:
        """Returns whether this process has the unit now."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        return True

    def give_back(self, number: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def close(self) -> None:
        """Gives all units back."""
        self._file.close()


@contextmanager
def spread(
    units: Sequence[U],
    load: Callable[[], Callable[[U], object]] | None,
    *,
    is_done: Callable[[U], bool],
    rows: Callable[[U], int],
    advance: Callable[[int], object],
    locks: Path,
) -> Iterator[Spread[U]]:
    """Yields the units as a Spread, from which helpers may take some. Without `load` there are no helpers.

    A helper calls `load`, an importable function or a partial of one, and then what it returns with each unit. That
    writes the result into a file, and `is_done` tells whether it is there. All of them travel through pickle. `advance`
    gets the number of `rows` that are done since the last call. `locks` is a file in the stage's work folder.
    """
    spread = Spread(dict(enumerate(units)), is_done, rows, advance)
    if load is None or not is_offered() or len(units) < 2:
        yield spread
        return
    stage, token = os.environ.get(STAGE, "").replace("/", "_"), secrets.token_hex(4)
    spread.offer = Path(os.environ[OFFERS], f"{stage}~{token}.offer")
    spread.content = units, load, is_done, locks
    with closing(Locks(locks)) as spread.locks:
        try:
            yield spread
        finally:
            for file in (spread.offer, _error_of(spread.offer)):
                file.unlink(missing_ok=True)


@dataclass
class Spread(Generic[U]):
    """The units that are left, by number. Those of helpers stay in it until they are done.

    `content` will be in the file `offer`, which is written at `offer_at`. Without `locks` there are no helpers.
    """

    left: dict[int, U]
    is_done: Callable[[U], bool]
    rows: Callable[[U], int]
    on_rows: Callable[[int], object]
    offer: Path = Path()
    content: Any = None
    locks: Locks | None = None
    offer_at: float = field(default_factory=lambda: monotonic() + PATIENCE_SECONDS)

    def rounds(self) -> Iterator[Iterator[U]]:
        """Yields iterators over the units that the caller computes. After the last one, all units are done.

        A round ends when helpers have all units that are left. Another one follows where a helper was lost.
        """
        while self.left:
            yield self._own()
            self.advance(0)
            if self.left:
                sleep(POLL_SECONDS)

    def advance(self, rows: int) -> None:
        """Notes that so many rows are done. Call it often while a unit is computed.

        Offers the units when PATIENCE_SECONDS have passed. Raises the first UserError that a unit raised in a helper.
        """
        self.on_rows(rows)
        if self.locks is None:
            return
        if (error := _error_of(self.offer)).is_file():
            raise UserError(error.read_text(encoding="utf-8"))
        if self.left and monotonic() >= self.offer_at:
            self.offer_at = math.inf
            with write_atomically(self.offer) as unfinished:
                unfinished.write_bytes(pickle.dumps(self.content))

    def _own(self) -> Iterator[U]:
        """Yields the units that no helper has, and takes those that one has done."""
        for number, unit in list(self.left.items()):
            self.advance(0)
            if self.locks is None or self.locks.take(number):
                del self.left[number]
                if self.locks is not None and self.is_done(unit):
                    self.on_rows(self.rows(unit))
                else:
                    yield unit
        self.offer_at = math.inf  # what a helper loses is computed here
        if self.locks is not None:
            self.offer.unlink(missing_ok=True)


def help_with(offer: Path) -> None:
    """Computes the units of an offer that no other process has, until none is left or the offer is withdrawn.

    Its process does nothing else. The stage raises a UserError of a unit, too.
    """
    try:
        units, load, is_done, path = pickle.loads(offer.read_bytes())
        compute: Callable[[Any], object] = load()
        with closing(Locks(path)) as locks:
            for number, unit in enumerate(units):
                if not offer.exists():
                    return
                if locks.take(number):
                    if not is_done(unit):
                        compute(unit)
                    locks.give_back(number)
        offer.unlink()
    except FileNotFoundError:
        if offer.exists():
            raise
    except UserError as error:
        with write_atomically(_error_of(offer)) as unfinished:
            unfinished.write_text(str(error), encoding="utf-8")
        raise


def _error_of(offer: Path) -> Path:
    return offer.with_suffix(".error")
