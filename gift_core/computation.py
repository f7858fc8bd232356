"""Units of work, such as ranges of images to encode, and the rows that a process computes.

The result of a unit depends on the unit alone. The method says what the units are and how they are computed. A
UnitRunner decides who computes them and what is kept for an interrupted stage: `run_serially` computes all of them
here, gift_core.work.resumable resumes and shares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch

from gift_core.progress import progress_bar

U = TypeVar("U")
GROUP_BYTES = 2**26  # 64 MiB: enough tensors at once for torch's list operations to pay off
Advance = Callable[[int], object]  # gets the number of rows that were done since the last call
Compute = Callable[[U, Advance], "State"]  # returns the state of a unit


@dataclass(frozen=True)
class State:
    """What a computation has so far: tensors by name, and a note, which is a JSON object."""

    tensors: dict[str, torch.Tensor]
    note: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Computation(Generic[U]):
    """Units, and how they are computed.

    Args:
        name: distinguishes the computations of a stage.
        units: in the order of their states. They can be pickled.
        compute: computes a unit in this process.
        load: returns `compute` in another process: an importable function, or a partial of one. None: only this process
            computes.
        rows: the number of rows of a unit, for the progress bar.
        noun: what a row is.
        keys: of the units, where their states serve later computations, too: each names what decides the state.
    """

    name: str
    units: Sequence[U]
    compute: Compute[U]
    load: Callable[[], Compute[U]] | None = None
    rows: Callable[[Any], int] = len
    noun: str = "images"
    keys: Sequence[str] = ()

    @property
    def total(self) -> int:
        """The number of rows of all units."""
        return sum(map(self.rows, self.units))


UnitRunner = Callable[[Computation[Any]], Iterator[State]]


def run_serially(computation: Computation[Any]) -> Iterator[State]:
    """Computes each unit in this process when its state is asked for, and yields the states."""
    with progress_bar(computation.total, computation.noun) as bar:
        for unit in computation.units:
            yield computation.compute(unit, bar.update)


def share_of(rows: int, rank: int, count: int) -> slice:
    """Returns which of `rows` rows process `rank` of `count` encodes: they differ by at most one row."""
    return slice(rows * rank // count, rows * (rank + 1) // count)


def own_share(rows: int) -> slice:
    """Returns which of `rows` rows this process encodes: its share in data-parallel training, otherwise all."""
    if not torch.distributed.is_initialized():
        return slice(0, rows)
    return share_of(rows, torch.distributed.get_rank(), torch.distributed.get_world_size())


def ranges(count: int, size: int) -> list[range]:
    """Returns consecutive ranges of `size` rows. The last one may be shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def groups(tensors: Sequence[torch.Tensor]) -> Iterator[slice]:
    """Yields runs of neighbors of at most GROUP_BYTES together, or of one larger tensor.

    Computing a group at a time avoids another copy of the whole model.
    """
    start, size = 0, 0
    for index, tensor in enumerate(tensors):
        if index > start and size + tensor.nbytes > GROUP_BYTES:
            yield slice(start, index)
            start, size = index, 0
        size += tensor.nbytes
    yield slice(start, len(tensors))
