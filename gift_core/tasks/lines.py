"""A user's text file with an entry a line: the names of a vocabulary, captions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from gift_core.errors import UserError


def read_lines(path: Path, place: str, *, noun: str) -> tuple[str, ...]:
    """Returns the lines of a UTF-8 text file, trimmed; lines that are empty or begin with # don't count.

    UserError, with `place` (the key in params.yaml), for a file that is unreadable or has no line left, and for a line
    that comes twice. `noun` is what a line is called there.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place}: {path} cannot be read ({error}). Save it as UTF-8 text.") from None
    entries = tuple(line for line in lines if line and not line.startswith("#"))
    if not entries:
        raise UserError(f"{place}: {path} holds no {noun}. Write one a line.")
    twice = sorted(entry for entry, count in Counter(entries).items() if count > 1)
    if twice:
        raise UserError(f"{place}: {path}: {twice[0]!r} comes twice. Remove one, it would be drawn twice as often.")
    return entries
