"""A helper without Ray and without a process of its own."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def every_other_unit(
    units: Iterable[Any],
    load: Callable[[], Callable[[Any], Any]],
    *,
    take: Callable[[Any, Any], object],
    **options: object,
) -> Iterator[Iterator[Any]]:
    """Stands for gift_core.spread.spread: every other unit is computed by what travels through pickle."""
    compute = pickle.loads(pickle.dumps(load))()

    def own() -> Iterator[Any]:
        for number, unit in enumerate(units):
            if number % 2:
                yield unit
            else:
                take(unit, pickle.loads(pickle.dumps(compute(unit))))

    yield own()
