"""A helper without Ray and without a process of its own."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gift_core.work.resumable import ResumableRunner


@dataclass
class PretendedHelper:
    """Stands for gift_core.work.spread.spread: a helper computes every other unit, by what travels through pickle."""

    helped: list[Any] = field(default_factory=list)

    @contextmanager
    def spread(
        self,
        units: Iterable[Any],
        load: Callable[[], Callable[[Any], Any]] | None,
        *,
        helped: Callable[[Any], object],
        **options: object,
    ) -> Iterator[Iterator[Any]]:
        compute = None if load is None else pickle.loads(pickle.dumps(load))()

        def own() -> Iterator[Any]:
            for number, unit in enumerate(units):
                if number % 2 or compute is None:
                    yield unit
                else:
                    self.helped.append(unit)
                    compute(pickle.loads(pickle.dumps(unit)))
                    helped(unit)

        yield own()


def run_with_helper(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ResumableRunner, PretendedHelper]:
    """A UnitRunner in `folder` (gift_core.computation) whose units a helper computes, too, and the helper."""
    helper = PretendedHelper()
    monkeypatch.setattr("gift_core.work.resumable.spread", helper.spread)
    folder.mkdir(exist_ok=True)
    return ResumableRunner(folder), helper
