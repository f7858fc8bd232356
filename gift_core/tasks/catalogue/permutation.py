"""The 80/20 splits of MTIL: torch's random_split with seed 42, drawn without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
SEED = 42
TRAIN_SHARE = 0.8


def split_80_20(items: Sequence[T]) -> tuple[list[T], list[T]]:
    """Returns the int(0.8 n) items to train on and the others, both in the order of `items`.

    They are those of `torch.utils.data.random_split(items, [int(0.8 n), rest], generator=manual_seed(42))`, which
    gives them in the order of the draw.
    """
    order = torch_permutation(len(items), seed=SEED)
    count = int(TRAIN_SHARE * len(items))
    return [items[index] for index in sorted(order[:count])], [items[index] for index in sorted(order[count:])]


def torch_permutation(n: int, *, seed: int) -> list[int]:
    """Returns what `torch.randperm(n, generator=torch.Generator().manual_seed(seed))` gives on the CPU.

    Both draw 32 bits at a time from a Mersenne twister seeded alike, and swap place i with i + bits mod (n - i)
    (aten's randperm_cpu). RandomState's stream is frozen by numpy's policy (NEP 19).
    """
    bits = np.random.RandomState(seed).randint(0, 2**32, size=max(n - 1, 0), dtype=np.uint32).tolist()
    order = list(range(n))
    for index, drawn in enumerate(bits):
        other = index + drawn % (n - index)
        order[index], order[other] = order[other], order[index]
    return order
