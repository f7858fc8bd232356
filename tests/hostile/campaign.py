"""Runs hostile cases: each is accepted, or refused with one message for people, within a time and a memory."""

from __future__ import annotations

import random
import resource
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FrameType

import pytest

from gift_core.errors import GiftError

SECONDS, MEGABYTES = 5.0, 400.0
LONGEST_MESSAGE = 20_000
SAMPLE = 80  # cases of each campaign that the test suite runs


@dataclass(frozen=True)
class Case:
    """`name` says what is hostile. `run` returns what is wrong with an accepted value ("": nothing) or raises."""

    name: str
    run: Callable[[], str]


def sample(cases: Sequence[Case]) -> list[Case]:
    """The same cases on every machine."""
    return random.Random(0).sample(list(cases), min(SAMPLE, len(cases)))


Choice = Callable[[Sequence[Case]], list[Case]]
# `make test-all` runs a sample of a campaign's cases, `make test-hostile` all of them.
SIZES = [pytest.param(sample, id="sample"), pytest.param(list, id="all", marks=pytest.mark.hostile)]


def run_cases(cases: Iterable[Case], *, message_fault: Callable[[str], str]) -> list[str]:
    """Runs the cases one after another, and returns a line for each one that did not end well.

    `message_fault` returns what a refusal's message lacks ("": nothing).
    """
    faults, before = [], _megabytes()
    for case in cases:
        started = time.process_time()  # not of the clock: the machine may be busy with other things
        fault = _run(case, message_fault)
        seconds = time.process_time() - started
        if fault or seconds > SECONDS:
            faults.append(f"{case.name[:200]}: {fault[:600] or f'took {seconds:.1f} s'}")
    megabytes = _megabytes() - before
    if megabytes > MEGABYTES:
        faults.append(f"{megabytes:.0f} MB more memory than before")
    return faults


def _run(case: Case, message_fault: Callable[[str], str]) -> str:
    previous = signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, 20 * SECONDS)
    try:
        return case.run()
    except GiftError as error:
        message = str(error)
        return f"{len(message)} characters" if len(message) > LONGEST_MESSAGE else message_fault(message)
    except BaseException as error:  # a SystemExit or a RecursionError is a fault, too
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _time_is_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"still running after {20 * SECONDS:.0f} s")


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
