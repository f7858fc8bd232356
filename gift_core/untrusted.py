"""Decodes JSON that people or other programs wrote, with limits on its size, its nesting and its numbers."""

from __future__ import annotations

import json
from typing import Any

MAX_BYTES = 256 << 20
MAX_NESTING = 64
MAX_DIGITS = 40  # of a whole number: more than any 128-bit number has


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text (bytes: UTF-8).

    ValueError says what is wrong in words that can follow "it should be JSON, but ...": not JSON, not UTF-8, larger
    than MAX_BYTES, nested deeper than MAX_NESTING, or a whole number of more than MAX_DIGITS digits.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text)} bytes, more than {MAX_BYTES}")
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_NESTING} levels") from None
    _require_shallow(value)
    return value


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it has a whole number of {len(digits)} digits, more than {MAX_DIGITS}")
    return int(digits)


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {MAX_NESTING} levels")
