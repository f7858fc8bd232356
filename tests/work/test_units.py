"""Units of a computation: merged in their order, resumed, and the same whoever computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gift_core.computation import Advance, Computation, State, in_turn, ranges
from gift_core.work import snapshot as snapshots
from gift_core.work.snapshot import write_state
from gift_core.work.units import KeptUnits
from tests.execution.pretended_helper import run_with_helper

COUNT = 6


class InterruptedWorkError(Exception):
    """Stands for a kill."""


@pytest.fixture(autouse=True)
def state_of_every_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "SHARE_OF_TIME", float("inf"))


def compute(stop_at: int, done: list[int], units: Iterable[range], advance: Advance) -> Iterator[State]:
    """The tensor of each unit is its number. The unit `stop_at` interrupts the run."""
    for rows in units:
        if rows.start == stop_at:
            raise InterruptedWorkError
        done.append(rows.start)
        advance(len(rows))
        yield State({f"{rows.start}": torch.tensor([float(rows.start)])}, {f"{rows.start}": rows.stop})


def load() -> Callable[..., Iterator[State]]:
    return partial(compute, -1, [])


def add(total: State, following: State) -> State:
    return State({"sum": sum(total.tensors.values()) * 10 + sum(following.tensors.values())}, {})


def computation(stop_at: int = -1, done: list[int] | None = None, **changes: Any) -> Computation[range]:
    done = [] if done is None else done
    return Computation("numbers", ranges(COUNT, 1), partial(compute, stop_at, done), load=load, **changes)


def values(state: State) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in state.tensors.items()}


WHOLE = {str(number): [float(number)] for number in range(COUNT)}
SUM = {"sum": [12345.0]}


@pytest.mark.parametrize(("changes", "expected"), [({}, WHOLE), ({"merge": add, "is_large": True}, SUM)])
def test_units_are_merged_in_their_order_with_a_helper_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: dict[str, list[float]]
) -> None:
    assert values(in_turn(computation(**changes))) == expected
    assert values(KeptUnits(tmp_path, lambda line: None)(computation(**changes))) == expected
    run, helper = run_with_helper(tmp_path / "helped", monkeypatch)
    state = run(computation(**changes))
    assert values(state) == expected
    assert [number for number, _ in helper.helped] == [0, 2, 4]


@pytest.mark.parametrize(("changes", "expected"), [({}, WHOLE), ({"merge": add, "is_large": True}, SUM)])
@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_an_interrupted_run_computes_no_unit_twice(
    tmp_path: Path, stop_at: int, changes: dict[str, Any], expected: dict[str, list[float]]
) -> None:
    said: list[str] = []
    run, done = KeptUnits(tmp_path, said.append), list[int]()
    with pytest.raises(InterruptedWorkError):
        run(computation(stop_at, done, **changes))
    assert values(run(computation(-1, done, **changes))) == expected
    assert done == list(range(COUNT))
    assert said == [f"images: continues at {stop_at} of {COUNT}"]


def test_a_unit_that_a_helper_has_written_is_not_computed_again_unless_it_is_damaged(tmp_path: Path) -> None:
    said, done = list[str](), list[int]()
    for number in (2, 4):
        write_state(tmp_path / f"numbers.{number}.safetensors", State({str(number): torch.tensor([float(number)])}))
    damaged = tmp_path / "numbers.4.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert values(KeptUnits(tmp_path, said.append)(computation(-1, done))) == WHOLE
    assert done == [0, 1, 3, 4, 5]
    assert said[0].startswith(f"{damaged}.not_used is not used: ")
