"""The two errors a user may see, and what a wrong name or path is answered with: the nearest names that exist."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LONGEST_WORD = 200  # of an unknown name for which a similar one is looked for
MOST_ENTRIES = 2000  # of a folder that are read for the names beside a missing path
SHOWN_ENTRIES = 6
SHOWN_WORDS = 60  # of an error of another library


class GiftError(Exception):
    """An error with a message for people: what, where, and what to do about it."""


class UserError(GiftError):
    """Bad input: a parameter, a name, a folder of the user's."""


class ContractError(GiftError):
    """A bad artifact: which file, what was expected of it, and which stage makes it again."""


@contextmanager
def explained(what: str, remedy: str) -> Iterator[None]:
    """Within the block an error of another library, of any type, is a UserError: `what`, its first words, `remedy`."""
    try:
        yield
    except (GiftError, MemoryError):
        raise
    except Exception as error:  # open_clip, diffusers, transformers, the hub, torch and pyarrow raise many types
        words = " ".join(str(error).split()[:SHOWN_WORDS]).rstrip(".") or type(error).__name__
        raise UserError(f"{what}: {printable(words)}. {remedy}") from error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns "Did you mean 'distill'? Known: align, distill." (the question only if a known name is similar)."""
    names = sorted(known)
    return f"{nearest(word, names)}Known: {', '.join(names) or 'none'}."


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns "Did you mean 'distill'? " with a space at the end, or nothing if no known name is similar."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6) if len(word) <= LONGEST_WORD else []
    return f"Did you mean {near[0]!r}? " if near else ""


def lookup(table: Mapping[str, T], name: str, location: str) -> T:
    """Returns table[name]; UserError "<location>: unknown name 'distil'. Did you mean ...?" if it is missing."""
    if name not in table:
        word = str(name)  # a caller of the library may pass None
        raise UserError(f"{location}: unknown name {word[:LONGEST_WORD]!r}. {did_you_mean(word, table)}")
    return table[name]


def no_such_path(path: Path, kind: str = "file or folder") -> str:
    """Returns "data/6_released/gift/garment: no such folder. Beside it: garments, birds." for a path that is missing.

    For a path of the wrong kind: "photos: it is a folder, expected a file." The most similar names come first, for a
    folder only those of folders. Where folders above it are missing, too, it says what is in the last one that is not.
    """
    if path.exists():
        other_kind = "folder" if path.is_dir() else "file"
        return f"{printable(str(path))}: it is a {other_kind}, expected a {kind}."
    above = next((folder for folder in path.parents if folder.is_dir()), Path())
    names: list[str] = []
    with suppress(OSError):  # it cannot be read
        entries = (entry for entry in islice(above.iterdir(), MOST_ENTRIES) if not entry.name.startswith((".", "__")))
        names = sorted(entry.name for entry in entries if kind != "folder" or entry.is_dir())
    missing = path.parts[len(above.parts)][:LONGEST_WORD]
    near = ", ".join(map(printable, difflib.get_close_matches(missing, names, SHOWN_ENTRIES, cutoff=0)))
    more = f" and {len(names) - SHOWN_ENTRIES} more" if len(names) > SHOWN_ENTRIES else ""
    where = "Beside it" if above == path.parent else f"{printable(str(above.absolute()))} has"
    return f"{printable(str(path))}: no such {kind}. {where}: {near or 'nothing'}{more}."


def printable(name: str) -> str:
    """Returns the name as it can be printed everywhere: control characters and bytes that are not UTF-8 are escaped."""
    control = {"Cc", "Cs"}  # control characters; bytes of a file's name that are not UTF-8
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in control else letter
        for letter in name
    )
