"""Times and sizes as text."""

from __future__ import annotations

import pytest

from gift_core.quantities import byte_size, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.3, "0 s"), (119, "119 s"), (252, "4.2 min"), (7200, "2.0 hours"), (100_000, "28 hours"), (8.64e5, "10 days")],
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(4e5, "0.4 MB"), (1.96e7, "20 MB"), (1e9, "1.0 GB"), (28.84e9, "28.8 GB")])
def test_sizes_are_readable(size: float, text: str) -> None:
    assert byte_size(size) == text
