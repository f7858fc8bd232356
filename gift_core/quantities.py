"""Times, numbers of bytes, counts and lists of names as text."""

from __future__ import annotations

from collections.abc import Sequence


def duration(seconds: float) -> str:
    """Returns a time with about two digits: "40 s", "12 min", "5.3 hours", "17 days"."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * length:
            count = seconds / length
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s"


def byte_size(size: float) -> str:
    """Returns a number of bytes as text: "1.5 GB", "20 MB", "0.4 MB"."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"


def plural(count: int, noun: str) -> str:
    """Returns `1 task`, `6 tasks`, `1,000 tasks`, `100 classes`."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}" + ("" if count == 1 else ending)


def first_names(names: Sequence[str], count: int = 5) -> str:
    """Returns the first `count` names in one line, and the number of the others."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
