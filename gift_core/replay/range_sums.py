"""A sum over many pairs in fixed ranges, added in their order: no bit depends on who computed which of them.

The sum has a number for each trained weight, so it is as large as the model. M pairs, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch

from gift_core.artifacts.fisher_file import Floats
from gift_core.artifacts.snapshot import Saved, Snapshot

BATCHES = 16  # of a range: 1,024 pairs in batches of 64, which is all that a step of the paper's setting has
PAIRS, BEGUN = "pairs", "begun"  # in the note of a snapshot: pairs of the total, and of the range after it
TOTAL, RANGE = "total/", "range/"  # before the names of its tensors

Tensors = dict[str, torch.Tensor]  # by parameter name


@dataclass(frozen=True)
class PairRange:
    """A range of whole batches: the numbers of its pairs, and their token rows [M, L] on the CPU."""

    pairs: range
    tokens_ML: torch.Tensor


@dataclass
class RangeSums:
    """The `total` of the first ranges, which have `end` pairs. The sum of a range behind a missing one waits.

    `length` is the number of pairs of every range but the last. At most `workers` ranges are begun and not yet in the
    total, so at most `workers` - 1 sums wait in memory. Several threads may add sums.
    """

    length: int
    workers: int
    total: dict[str, Floats] = field(default_factory=dict)
    end: int = 0
    _waiting: dict[int, tuple[int, dict[str, Floats]]] = field(default_factory=dict)
    _begun: tuple[Tensors, int] | None = None
    _lock: Lock = field(default_factory=Lock)

    def resume(self, snapshot: Snapshot) -> int:
        """Continues where an interrupted run was. Returns the number of pairs that are done."""
        saved = snapshot.read()
        if saved is None:
            return 0
        self.end = int(saved.note[PAIRS])
        self.total = {name: value.numpy() for name, value in _named(saved.tensors, TOTAL).items()}
        begun = int(saved.note[BEGUN])
        if begun:
            self._begun = _named(saved.tensors, RANGE), begun
        return self.end + begun

    def begun(self, unit: PairRange) -> tuple[Tensors, int] | None:
        """Returns the sum over the first pairs of the range that an interrupted run left, and how many these are."""
        return self._begun if unit.pairs.start == self.end else None

    def may_begin(self, unit: PairRange) -> bool:
        """Whether the range is near enough to the total: fewer than `workers` ranges before it are missing."""
        return unit.pairs.start < self.end + self.workers * self.length

    def add(self, unit: PairRange, sums: dict[str, Floats]) -> None:
        """Adds the sum of a range as soon as all ranges before it are added. `sums` becomes empty then."""
        with self._lock:
            self._waiting[unit.pairs.start] = unit.pairs.stop, sums
            while self.end in self._waiting:
                stop, following = self._waiting.pop(self.end)
                for name in list(following):
                    # not in place: the arrays of a helper are read-only. Each is freed at once
                    before = self.total.get(name, np.float32(0))
                    self.total[name] = np.asarray(before + following.pop(name))
                self.end, self._begun = stop, None

    def keep(self, snapshot: Snapshot, unit: PairRange, sums: Tensors, done: int) -> None:
        """Keeps the total, and the sum over the first `done` pairs of a range if it is the next one to add."""
        with self._lock:
            snapshot.keep(lambda: self._state(unit, sums, done))

    def _state(self, unit: PairRange, sums: Tensors, done: int) -> Saved:
        tensors = {f"{TOTAL}{name}": torch.from_numpy(value) for name, value in self.total.items()}
        if unit.pairs.start != self.end:
            return Saved(tensors, {PAIRS: self.end, BEGUN: 0})
        tensors |= {f"{RANGE}{name}": value for name, value in sums.items()}
        return Saved(tensors, {PAIRS: self.end, BEGUN: done})


def _named(tensors: Mapping[str, torch.Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
