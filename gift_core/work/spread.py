"""Lets free workers of `gift run` help a stage with the units of its work, such as shards.

A stage takes its units from a queue, one after another. Where the work takes longer than PATIENCE_SECONDS, helpers take
units from the same queue. Helpers are processes that Ray starts where a worker is free. Who computes a unit must not
change its result. Under plain `dvc repro` there are no helpers, and nothing of Ray is imported.

The unit of a helper that is lost is computed again, so a lost helper never fails a stage. A UserError of a unit does.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from gift_core.errors import UserError
from gift_core.tracking import VARIABLES
from gift_core.work.needs import CPUS

U = TypeVar("U")
R = TypeVar("R")
OFFER = "GIFT_HELPERS"  # in the environment of a stage that `gift run` has started: an Offer, as JSON
PATIENCE_SECONDS = 20.0  # a helper needs about as long to start, and most stages of the miniature are shorter
SETTLE_SECONDS = 2.0  # when a stage ends, `gift run` needs so long to start the next one: a helper must not be first
POLL_SECONDS = 0.2
CLOSE_SECONDS = 3.0  # for the end of the helpers; a stage that is interrupted has 4 s (stages/interruption.py)
LOSSES = 3  # of a helper, until the stage asks for no other one in its place
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


def at_once(unit: object) -> bool:
    """Returns True: every unit may begin at once."""
    return True


@contextmanager
def spread(
    units: Iterable[U],
    load: Callable[[], Callable[[U], R]] | None,
    *,
    take: Callable[[U, R], object],
    say: Callable[[str], None] = say_nothing,
    may_begin: Callable[[U], bool] = at_once,
) -> Iterator[Spread[U, R]]:
    """Yields the queue of `units`, from which helpers may take some. Without `load` there are no helpers.

    A helper calls `load`, an importable function or a partial of one, and then what it returns with each unit. Units
    and results are pickled: a large result should be a file. `take` gets each unit of a helper with its result, one at
    a time and in another thread. `say` prints a line. `may_begin` returns whether a unit may begin although earlier
    ones are not done. Once it returns True for a unit, it must not return False again.
    """
    work = Spread(deque(units), take, say, may_begin)
    offer = offered()
    recruiting = None
    if load is not None and offer is not None and len(work.left) > 1:
        recruiting = threading.Thread(target=work.recruit, args=(offer, load), name="helpers", daemon=True)
        recruiting.start()
    try:
        yield work
    finally:
        work.stopped.set()
        if recruiting is not None:
            recruiting.join(CLOSE_SECONDS)


@dataclass
class Spread(Generic[U, R]):
    """The units that are `left`, and the number of those that are `away`: a helper computes them."""

    left: deque[U]
    take: Callable[[U, R], object]
    say: Callable[[str], None]
    may_begin: Callable[[U], bool] = at_once
    away: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    _error: UserError | None = None
    _is_given_back: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def rounds(self) -> Iterator[Iterator[U]]:
        """Yields iterators over the units that the caller computes. After the last one, all units are done.

        The first iterator ends when no unit is left, or when a helper gives a unit back, so that the units of each are
        in their order. The first UserError of a helper is raised between two units.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.left or not self.away or self._error)
                self.check()
                if not self.left:
                    return
                self._is_given_back = False
            yield self._own()

    def __iter__(self) -> Iterator[U]:
        """Yields the units of all rounds."""
        for units in self.rounds():
            yield from units

    def _own(self) -> Iterator[U]:
        while True:
            with self._changed:
                self._changed.notify_all()  # the caller has done a unit, so that another one may begin
                self._changed.wait_for(lambda: self._is_next_free() or self._error)
                self.check()
                if not self.left or self._is_given_back:
                    return
                unit = self.left.popleft()
            yield unit

    def _is_next_free(self) -> bool:
        """Whether nobody has to wait for the next unit: it may begin, or there is none."""
        return not self.left or self.may_begin(self.left[0])

    def check(self) -> None:
        """Raises the first UserError that a unit raised in a helper. Call it often while a unit is computed."""
        if self._error is not None:
            raise self._error

    def recruit(self, offer: Offer, load: Callable[[], Callable[[U], R]]) -> None:
        """Has helpers take units, from PATIENCE_SECONDS on, until none is left or the caller has stopped."""
        if self.stopped.wait(PATIENCE_SECONDS) or not self.left:
            return
        try:
            workers = _Workers(offer, load)
        except Exception as error:
            self.say(f"no worker can help, because Ray at {offer.address} cannot be reached ({_first_line(error)})")
            return
        count = min(offer.count, len(self.left))
        threads = [threading.Thread(target=self._drive, args=(workers,), daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        workers.close()

    def _drive(self, workers: _Workers) -> None:
        """Drives one helper. Where it has to make room for a stage, or is lost, asks for another one."""
        losses = 0
        while losses < LOSSES and self._has_room(workers.offer):
            actor = workers.start()
            try:
                if self._is_placed(workers, actor):
                    self._feed(workers, actor)
            except _StoppedError:
                return
            except workers.lost as error:
                losses += 1
                self.say(f"a helper was lost ({_first_line(error)}). Its unit is computed again")
            except Exception as error:  # of this helper alone: the unit is computed again in the stage
                self.say(
                    f"a helper failed ({type(error).__name__}: {_first_line(error)}). The stage goes on without it"
                )
                return
            finally:
                workers.end(actor)

    def _has_room(self, offer: Offer) -> bool:
        """Waits while a stage waits for a worker. Returns whether there is still something to do."""
        while self._is_needed() and offer.is_wanted_elsewhere:
            self.stopped.wait(SETTLE_SECONDS)
        return self._is_needed()

    def _is_needed(self) -> bool:
        return bool(self.left) and not self.stopped.is_set() and self._error is None

    def _is_placed(self, workers: _Workers, actor: Any) -> bool:
        """Waits for a free worker. Returns whether the helper has one that no stage waits for."""
        placed = actor.place.remote()
        while not workers.is_done(placed):
            if not self._is_needed():
                return False
        self.stopped.wait(SETTLE_SECONDS)
        return not workers.offer.is_wanted_elsewhere

    def _feed(self, workers: _Workers, actor: Any) -> None:
        """Gives the helper units until none is left or a stage waits for its worker."""
        self._result(workers, actor.load.remote())
        self.say("a free worker helps")
        while self._is_needed() and not workers.offer.is_wanted_elsewhere:
            with self._changed:
                if not self._changed.wait_for(self._is_next_free, POLL_SECONDS):
                    continue
                if not self.left:
                    return
                unit = self.left.popleft()
                self.away += 1
            is_done = False
            try:
                result = self._result(workers, actor.compute.remote(unit))
                with self._changed:
                    self.take(unit, result)
                    is_done = True
            except UserError as error:
                self._error = self._error or error
            finally:
                with self._changed:
                    self.away -= 1
                    if not is_done:
                        self.left.appendleft(unit)
                        self._is_given_back = True
                    self._changed.notify_all()

    def _result(self, workers: _Workers, answer: Any) -> Any:
        """Waits for an answer of a helper, unless the caller stops."""
        while not workers.is_done(answer):
            if self.stopped.is_set():
                raise _StoppedError
        return workers.get(answer)


class _StoppedError(Exception):
    """The caller needs no answer any more."""


class _Workers:
    """The helpers of this process: actors of Ray, which end with it."""

    def __init__(self, offer: Offer, load: Callable[[], Callable[[Any], Any]]) -> None:
        import ray

        self.offer, self._ray, self.lost = offer, ray, ray.exceptions.RayError
        ray.init(address=offer.address, log_to_driver=False, logging_level=logging.ERROR)
        environment = {name: value for name, value in os.environ.items() if is_passed(name)} | {OFFER: ""}
        self._actor = ray.remote(_helper_class()).options(
            num_cpus=CPUS,
            num_gpus=offer.gpus,
            max_restarts=0,  # a lost helper gives its unit back at once, whereas a restart may wait for a free worker
            runtime_env={"env_vars": environment},
        )
        self._arguments = str(Path.cwd()), list(sys.path), ray.cloudpickle.dumps(load)

    def start(self) -> Any:
        """Asks for a helper. It starts when a worker is free."""
        return self._actor.remote(*self._arguments)

    def end(self, actor: Any) -> None:
        """Ends a helper, whatever it does."""
        self._ray.kill(actor)

    def is_done(self, answer: Any) -> bool:
        """Returns whether a helper has answered, after at most POLL_SECONDS."""
        return bool(self._ray.wait([answer], timeout=POLL_SECONDS)[0])

    def get(self, answer: Any) -> Any:
        """Returns an answer. Raises what the helper raised."""
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            cause: BaseException = error.cause or error
            raise cause from None

    def close(self) -> None:
        """Leaves Ray."""
        self._ray.shutdown()


def _helper_class() -> type:
    """The class of the actors. It is made here so that Ray sends it by value: it sets the path to this project."""

    class Helper:
        def __init__(self, folder: str, path: list[str], load: bytes) -> None:
            self._folder, self._path, self._load = folder, path, load

        def place(self) -> None:
            """Answers as soon as the helper has a worker."""

        def load(self) -> None:
            import os
            import pickle
            import sys

            os.chdir(self._folder)
            sys.path[:0] = [each for each in self._path if each not in sys.path]
            self._compute = pickle.loads(self._load)()

        def compute(self, unit: Any) -> Any:
            return self._compute(unit)

    return Helper


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
