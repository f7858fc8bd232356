"""Lets free workers of `gift run` help a stage with the units of its work, such as shards.

A stage that works for PATIENCE_SECONDS writes an offer into a folder. Where a worker is free that no stage needs,
`gift run` starts a helper there, which computes units into the stage's work folder. A unit belongs to the process that
holds its lock, which the system releases when a process is killed. So a lost helper never fails a stage, but a
UserError of a unit does. Who computes a unit must not change its result. Under plain `dvc repro` there are no helpers.
"""

from __future__ import annotations

import os
import pickle
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
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
    take: Callable[[U], object],
    locks: Path,
) -> Iterator[Spread[U]]:
    """Yields the units as a Spread, from which helpers may take some. Without `load` there are no helpers.

    A helper calls `load`, an importable function or a partial of one, and then what it returns with each unit. That
    writes the result into a file, and `is_done` tells whether it is there. All of them travel through pickle. `take`
    gets the units of helpers. `locks` is a file in the stage's work folder.
    """
    if load is None or not is_offered() or len(units) < 2:
        yield Spread(dict(enumerate(units)))
        return
    offer = Path(os.environ[OFFERS], f"{os.environ.get(STAGE, '').replace('/', '_')}~{secrets.token_hex(4)}.offer")
    with closing(Locks(locks)) as own:
        try:
            shared = _Shared(offer, pickle.dumps((units, load, is_done, locks)), own, is_done, take)
            yield Spread(dict(enumerate(units)), shared)
        finally:
            for file in (offer, _error_of(offer)):
                file.unlink(missing_ok=True)


@dataclass
class _Shared(Generic[U]):
    offer: Path
    content: bytes
    locks: Locks
    is_done: Callable[[U], bool]
    take: Callable[[U], object]


class Spread(Generic[U]):
    """The units that are left, by number. Those of helpers stay in it until they are done."""

    def __init__(self, left: dict[int, U], shared: _Shared[U] | None = None) -> None:
        self._left, self._shared = left, shared
        self._offer_at = monotonic() + PATIENCE_SECONDS

    def rounds(self) -> Iterator[Iterator[U]]:
        """Yields iterators over the units that the caller computes. After the last one, all units are done.

        A round ends when helpers have all units that are left. Another one follows where a helper was lost.
        """
        while self._left:
            yield self._own()
            self.check()
            if self._left:
                sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raises the first UserError that a unit raised in a helper. Call it often while a unit is computed.

        Offers the units when PATIENCE_SECONDS have passed.
        """
        if self._shared is None:
            return
        if (error := _error_of(self._shared.offer)).is_file():
            raise UserError(error.read_text(encoding="utf-8"))
        if self._left and monotonic() >= self._offer_at:
            self._offer_at = float("inf")
            with write_atomically(self._shared.offer) as unfinished:
                unfinished.write_bytes(self._shared.content)

    def _own(self) -> Iterator[U]:
        """Yields the units that no helper has, and takes those that one has done."""
        shared = self._shared
        for number, unit in list(self._left.items()):
            self.check()
            if shared is None or shared.locks.take(number):
                del self._left[number]
                if shared is not None and shared.is_done(unit):
                    shared.take(unit)
                else:
                    yield unit
        self._offer_at = float("inf")  # what a helper loses is computed here
        if shared is not None:
            shared.offer.unlink(missing_ok=True)


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
