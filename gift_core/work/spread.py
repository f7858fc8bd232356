"""Lets free workers of `gift run` help a stage with the units of its work, such as shards.

A stage takes its units from a queue, one after another. Where the work takes longer than PATIENCE_SECONDS, helpers get
units of the same queue. Helpers are actors of Ray, started where a worker is free that no stage waits for. Who computes
a unit must not change its result. Under plain `dvc repro` there are no helpers, and nothing of Ray is imported.

The unit of a helper that is lost is computed again, so a lost helper never fails a stage. A UserError of a unit does.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Generic, TypeVar

from gift_core.errors import UserError
from gift_core.tracking import VARIABLES
from gift_core.work.needs import CPUS

U = TypeVar("U")
R = TypeVar("R")
OFFER = "GIFT_HELPERS"  # in the environment of a stage that `gift run` has started: an Offer, as JSON
PATIENCE_SECONDS = 20.0  # a helper needs about as long to start, and most stages of the miniature are shorter
SETTLE_SECONDS = 2.0  # a worker is free for so long before a helper gets it: `gift run` starts the next stage first
POLL_SECONDS = 0.1
CLOSE_SECONDS = 3.0  # for the end of the helpers; a stage that is interrupted has 4 s (stages/dvc/interruption.py)
LOSSES = 3  # of each helper that is offered, until the stage asks for no other one
# The variables that helpers and stages on other machines get from this one. Secrets stay here.
PASSED = ("DVC_", "GIFT_", "HF_", "LANG", "LC_", "OMP_", "PATH", "PYTHON", *VARIABLES)
SECRETS = ("TOKEN", "KEY", "SECRET", "PASSWORD")


def is_passed(name: str) -> bool:
    """Returns whether processes on other machines get this variable."""
    return name.startswith(PASSED) and name != "GIFT_FORK_SERVER" and not any(word in name for word in SECRETS)


@dataclass(frozen=True)
class Offer:
    """What `gift run` offers each stage: at most `count` helpers with `gpus` GPUs each, from Ray at `address`.

    `waiting` is a folder with a file for each stage that waits for a worker.
    """

    address: str
    count: int
    gpus: float
    waiting: str

    @property
    def variables(self) -> dict[str, str]:
        """The variables that tell a stage of it."""
        return {OFFER: json.dumps(asdict(self)) if self.count else ""}

    @property
    def is_wanted_elsewhere(self) -> bool:
        """Whether a stage waits for a worker."""
        return any(Path(self.waiting).glob("*"))


def offered() -> Offer | None:
    """Returns what `gift run` offers to this process, None where it offers no helpers."""
    text = os.environ.get(OFFER)
    return Offer(**json.loads(text)) if text else None


def say_nothing(line: str) -> None:
    """Prints nothing."""


@contextmanager
def spread(
    units: Iterable[U],
    load: Callable[[], Callable[[U], R]] | None,
    *,
    take: Callable[[U, R], object],
    say: Callable[[str], None] = say_nothing,
) -> Iterator[Spread[U, R]]:
    """Yields the queue of `units`, from which helpers may take some. Without `load` there are no helpers.

    A helper calls `load`, an importable function or a partial of one, and then what it returns with each unit. Units
    and results are pickled: a large result should be a file. `take` gets each unit of a helper with its result, one at
    a time and in another thread. `say` prints a line.
    """
    work, offer, helping = Spread(deque(units), take, say), offered(), None
    if load is not None and offer is not None and len(work.left) > 1:
        helping = threading.Thread(target=work.get_help, args=(offer, load), name="helpers", daemon=True)
        helping.start()
    try:
        yield work
    finally:
        work.stopped.set()
        if helping is not None:
            helping.join(CLOSE_SECONDS)


@dataclass
class Spread(Generic[U, R]):
    """The units that are `left`, and the number of those that are `away`: a helper computes them."""

    left: deque[U]
    take: Callable[[U, R], object]
    say: Callable[[str], None]
    away: int = 0
    error: UserError | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)  # of `left` and `away`

    def rounds(self) -> Iterator[Iterator[U]]:
        """Yields iterators over the units that the caller computes. After the last one, all units are done.

        A round ends when no unit is left. Another one follows where a helper was lost. The first UserError of a helper
        is raised between two units.
        """
        while self._is_unfinished():
            if self.left:
                yield iter(self._next, None)
            self.check()
            self.stopped.wait(POLL_SECONDS / 5)

    def check(self) -> None:
        """Raises the first UserError that a unit raised in a helper. Call it often while a unit is computed."""
        if self.error is not None:
            raise self.error

    def _is_unfinished(self) -> bool:
        with self.lock:
            return bool(self.left or self.away)

    def _next(self, *, away: bool = False) -> U | None:
        """Takes a unit from the queue, for a helper if it goes `away`. Returns None if there is none."""
        self.check()
        with self.lock:
            self.away += away and bool(self.left)
            return self.left.popleft() if self.left else None

    def get_help(self, offer: Offer, load: Callable[[], Callable[[U], R]]) -> None:
        """Has helpers compute units, from PATIENCE_SECONDS on, until all are done or the caller has stopped.

        Starts helpers where workers have been free for a time, and gives each one unit after another until a stage
        waits for a worker.
        """
        if self.stopped.wait(PATIENCE_SECONDS) or not self.left:
            return
        import ray

        try:
            ray.init(address=offer.address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            self.say(f"no worker can help, because Ray at {offer.address} cannot be reached ({first_line(error)})")
            return
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # _Helper finds the project by itself
        variables = {name: value for name, value in os.environ.items() if is_passed(name)} | {OFFER: ""}
        needs = {"num_cpus": CPUS, "num_gpus": offer.gpus, "runtime_env": {"env_vars": variables}}
        arguments = str(Path.cwd()), list(sys.path), ray.cloudpickle.dumps(load)
        busy: dict[Any, tuple[Any, list[U]]] = {}  # {answer that is expected: helper and its unit, none while it loads}
        starts, free_since = LOSSES * offer.count, monotonic()
        while self._is_unfinished() and not self.stopped.wait(POLL_SECONDS) and self.error is None:
            for answer in ray.wait(list(busy), num_returns=len(busy), timeout=0)[0] if busy else []:
                helper, units = busy.pop(answer)
                if not self._settle(ray, answer, units):
                    starts -= 1
                elif not offer.is_wanted_elsewhere and (unit := self._next(away=True)) is not None:
                    busy[helper.compute.remote(unit)] = helper, [unit]
                else:
                    ray.kill(helper)
            free = ray.available_resources()
            if offer.is_wanted_elsewhere or free.get("CPU", 0) < CPUS or free.get("GPU", 0) < offer.gpus:
                free_since = monotonic()
            elif len(busy) < min(offer.count, len(self.left), starts) and monotonic() - free_since > SETTLE_SECONDS:
                helper, free_since = ray.remote(_Helper).options(**needs).remote(*arguments), monotonic()
                busy[helper.load.remote()] = helper, []
        ray.shutdown()  # ends the helpers

    def _settle(self, ray: Any, answer: Any, units: list[U]) -> bool:
        """Takes the unit that a helper has computed, or gives it back. Returns whether the helper can go on."""
        try:
            result = ray.get(answer)
            for unit in units:
                self.take(unit, result)
            if not units:
                self.say("a free worker helps")
        except Exception as error:
            cause = getattr(error, "cause", None) or error
            if units and isinstance(cause, UserError):
                self.error = cause
            else:
                self.say(
                    f"a helper was lost ({type(cause).__name__}: {first_line(cause)}). The stage goes on without it"
                )
            with self.lock:
                self.left.extendleft(units)
                self.away -= len(units)
            return False
        with self.lock:
            self.away -= len(units)
        return True


class _Helper:
    """An actor of Ray, which is sent by value: it sets the path to this project."""

    def __init__(self, folder: str, path: list[str], load: bytes) -> None:
        self._folder, self._path, self._load = folder, path, load

    def load(self) -> None:
        os.chdir(self._folder)
        sys.path[:0] = [each for each in self._path if each not in sys.path]
        self._compute = pickle.loads(self._load)()

    def compute(self, unit: Any) -> Any:
        return self._compute(unit)


def first_line(error: BaseException) -> str:
    """Returns the first line of the message, the name of the type if it is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
