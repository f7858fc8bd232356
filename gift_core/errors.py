"""The two errors a user may see, and the one lookup by name, which suggests the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
LONGEST_WORD = 200  # of an unknown name for which a similar one is looked for


class GiftError(Exception):
    """An error with a message for people: what, where, and what to do about it."""


class UserError(GiftError):
    """Bad input: a parameter, a name, a folder of the user's."""


class ContractError(GiftError):
    """A bad artifact: which file, what was expected of it, and which stage makes it again."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns "Did you mean 'distill'? Known: align, distill." (the question only if a known name is similar)."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6) if len(word) <= LONGEST_WORD else []
    question = f"Did you mean {near[0]!r}? " if near else ""
    return f"{question}Known: {', '.join(names) or 'none'}."


def lookup(table: Mapping[str, T], name: str, location: str) -> T:
    """Returns table[name]; UserError "<location>: unknown name 'distil'. Did you mean ...?" if it is missing."""
    if name not in table:
        shown = name if len(name) <= LONGEST_WORD else f"{name[:LONGEST_WORD]}..."
        raise UserError(f"{location}: unknown name {shown!r}. {did_you_mean(name, table)}")
    return table[name]
