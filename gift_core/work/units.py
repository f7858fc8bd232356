"""Runs the units of a computation in a work folder: those that are done are skipped, and helpers compute some.

The state of the first units is one file, which is replaced now and then (Snapshot). A unit that a helper has computed
is a file of its own until its turn comes. Units with keys are files in another folder, which stay for later stages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from gift_core.computation import Computation, Compute, State
from gift_core.errors import UserError
from gift_core.progress import progress_bar
from gift_core.work.publishing import require_free_bytes
from gift_core.work.snapshot import Snapshot, read_state, write_state
from gift_core.work.spread import spread

Numbered = tuple[int, Any]  # a unit with its number


@dataclass(frozen=True)
class KeptUnits:
    """Runs computations (gift_core.computation.Run) in the work folder `folder`. `say` prints a line.

    `kept`: the folder of units with keys; those that a computation does not need are removed.
    """

    folder: Path
    say: Callable[[str], None]
    kept: Path | None = None

    def __call__(self, computation: Computation[Any]) -> State:
        """Returns the merged state of all units, the same as without an interruption and without helpers.

        Helpers take units where `gift run` offers some. UserError of a unit, whoever computes it.
        """
        merged = _Merged(computation, self.folder / computation.name)
        snapshot = Snapshot(self.folder / f"{computation.name}.safetensors", self.say)
        merged.resume(snapshot.read(), self.say)
        files = [self.kept / f"{key}.safetensors" for key in computation.keys] if self.kept else []
        for other in {*files[0].parent.glob("*.safetensors*")} - {*files} if files else ():
            other.unlink()
        for number, file in enumerate(files):
            if not merged.has(number) and (state := read_state(file, self.say)):
                merged.add(number, state)
        left = [(number, unit) for number, unit in enumerate(computation.units) if not merged.has(number)]
        done = computation.total - sum(computation.rows(unit) for _, unit in left)
        if done:
            self.say(f"{computation.noun}: continues at {done} of {computation.total}")
        load = None if computation.load is None else partial(_load, computation.load, merged.path)
        with progress_bar(computation.total, computation.noun, done=done) as bar:

            def add(number: int, state: State | None = None) -> None:
                if files and (known := state or read_state(_file_of(merged.path, number))):
                    size = sum(tensor.nbytes for tensor in known.tensors.values())
                    with suppress(UserError, OSError, SafetensorError):  # without space, later stages compute it again
                        require_free_bytes(files[number], 2 * size, "the features")
                        write_state(files[number], known)
                merged.add(number, state)

            def take(unit: Numbered) -> None:
                add(unit[0])
                bar.update(computation.rows(unit[1]))

            locks, is_done = merged.path.with_name(f".{computation.name}.locks"), partial(_is_written, merged.path)
            with spread(left, load, is_done=is_done, take=take, locks=locks) as shared:

                def advance(rows: int) -> None:
                    bar.update(rows)
                    shared.check()

                for own in shared.rounds():
                    for number, state in _computed(computation.compute, own, advance):
                        add(number, state)
                        if not files:
                            merged.keep(snapshot)
        return merged.state or State({})


def _computed(compute: Compute[Any], units: Iterable[Numbered], advance: Callable[[int], object]) -> Iterator[Any]:
    """Yields (number, state) of each unit."""
    taken: deque[int] = deque()

    def own() -> Iterator[Any]:
        for number, unit in units:
            taken.append(number)
            yield unit

    for state in compute(own(), advance):
        yield taken.popleft(), state


def _load(load: Callable[[], Compute[Any]], path: Path) -> Callable[[Numbered], None]:
    """In a helper: returns what computes a unit and writes its state."""
    compute = load()

    def make(unit: Numbered) -> None:
        (state,) = compute([unit[1]], lambda rows: None)
        write_state(_file_of(path, unit[0]), state)

    return make


def _is_written(path: Path, unit: Numbered) -> bool:
    return _file_of(path, unit[0]).is_file()


def _file_of(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}.safetensors")


@dataclass
class _Merged:
    """The state of the first `end` units. Units behind a missing one wait, those of helpers in their files."""

    computation: Computation[Any]
    path: Path
    state: State | None = None
    end: int = 0
    waiting: dict[int, State | None] = field(default_factory=dict)

    def resume(self, saved: State | None, say: Callable[[str], None]) -> None:
        """Starts from what an interrupted run has left: the state of the first units, and the files of others."""
        if saved is not None:
            self.state, self.end = State(saved.tensors, saved.note["note"]), saved.note["units"]
        for number in range(self.end, len(self.computation.units)):
            state = read_state(_file_of(self.path, number), say)
            if state is not None:
                self.add(number, state)

    def has(self, number: int) -> bool:
        """Whether the unit is done."""
        return number < self.end or number in self.waiting

    def add(self, number: int, state: State | None = None) -> None:
        """Merges the state of a unit as soon as all before it are merged. None: it is in its file, from a helper."""
        if state is not None and self.computation.is_large and number > self.end:
            write_state(_file_of(self.path, number), state)
            state = None
        self.waiting[number] = state
        while self.end in self.waiting:
            file = _file_of(self.path, self.end)
            following = self.waiting.pop(self.end) or read_state(file)
            assert following is not None, f"the helper has written {file}"
            self.state = following if self.state is None else self.computation.merge(self.state, following)
            if self.computation.is_large:
                file.unlink(missing_ok=True)
            self.end += 1

    def keep(self, snapshot: Snapshot) -> None:
        """Writes the state of the first units if that is due."""
        if self.state is not None:
            kept = State(self.state.tensors, {"units": self.end, "note": self.state.note})
            snapshot.keep(lambda: kept)
