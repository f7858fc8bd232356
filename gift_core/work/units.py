"""Runs the units of a computation in a work folder: those that are done are skipped, and helpers compute some.

The state of a unit is a file, whoever computes it. Units with keys are files in another folder, which stay for later
stages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from gift_core.computation import Computation, Compute, State
from gift_core.progress import progress_bar
from gift_core.work.snapshot import keep_state, read_state, write_state
from gift_core.work.spread import spread

Numbered = tuple[int, Any]  # a unit with its number
INTERVAL = 30.0  # seconds between two writes: a shorter run writes nothing


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
        files = [self.folder / f"{computation.name}.{number}.safetensors" for number in range(len(computation.units))]
        last_for = INTERVAL
        if self.kept is not None and computation.keys:
            files, last_for = [self.kept / f"{key}.safetensors" for key in computation.keys], 0.0
            for other in {*self.kept.glob("*.safetensors*")} - {*files}:
                other.unlink()
        left = [each for each in enumerate(computation.units) if read_state(files[each[0]], self.say) is None]
        done = computation.total - sum(computation.rows(unit) for _, unit in left)
        if done:
            self.say(f"{computation.noun}: continues at {done} of {computation.total}")
        unwritten, due_at = dict[int, State](), monotonic() + last_for
        with (
            progress_bar(computation.total, computation.noun, done=done) as bar,
            spread(
                left,
                None if computation.load is None else partial(_load, computation.load, files),
                is_done=partial(_is_written, files),
                helped=lambda unit: bar.update(computation.rows(unit[1])),
                locks=self.folder / f".{computation.name}.locks",
            ) as own,
        ):
            for number, state in _computed(computation.compute, own, bar.update):
                unwritten[number] = state
                if monotonic() >= due_at:
                    has_space = all(keep_state(files[each], unwritten[each], self.say) for each in [*unwritten])
                    due_at = monotonic() + (last_for if has_space else INTERVAL)
                    unwritten = {} if has_space else unwritten
        merged: State | None = None
        for number, file in enumerate(files):
            following = unwritten.get(number) or read_state(file)
            assert following is not None, f"a helper has written {file}"
            merged = following if merged is None else computation.merge(merged, following)
        return merged or State({})


def _computed(compute: Compute[Any], units: Iterable[Numbered], advance: Callable[[int], object]) -> Iterator[Any]:
    """Yields (number, state) of each unit."""
    taken: deque[int] = deque()

    def own() -> Iterator[Any]:
        for number, unit in units:
            taken.append(number)
            yield unit

    for state in compute(own(), advance):
        yield taken.popleft(), state


def _load(load: Callable[[], Compute[Any]], files: list[Path]) -> Callable[[Numbered], None]:
    """In a helper: returns what computes a unit and writes its state."""
    compute = load()

    def make(unit: Numbered) -> None:
        (state,) = compute([unit[1]], lambda rows: None)
        write_state(files[unit[0]], state)

    return make


def _is_written(files: list[Path], unit: Numbered) -> bool:
    return files[unit[0]].is_file()
