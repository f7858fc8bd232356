"""The two errors a user may see, and what a wrong name or path is answered with: the nearest names that exist."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LONGEST_WORD = 200  # of an unknown name for which a similar one is looked for
MOST_ENTRIES = 2000  # of a folder that are read for the names beside a missing path
SHOWN_ENTRIES = 6


class GiftError(Exception):
    """An error with a message for people: what, where, and what to do about it."""


class UserError(GiftError):
    """Bad input: a parameter, a name, a folder of the user's."""


class ContractError(GiftError):
    """A bad artifact: which file, what was expected of it, and which stage makes it again."""


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
        shown = word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}..."
        raise UserError(f"{location}: unknown name {shown!r}. {did_you_mean(word, table)}")
    return table[name]


def no_such_path(path: Path, kind: str = "file or folder") -> str:
    """Returns "data/6_released/gift/garment: no such folder. Beside it: garments, birds." for a path that is missing.

    For a path of the wrong kind: "photos: it is a folder, expected a file." The nearest names come first. Where folders
    above it are missing, too, it says which is the first, and what is beside that one. `kind` is what was expected; for
    a folder, only folders are listed.
    """
    if path.exists():
        found = "folder" if path.is_dir() else "file" if path.is_file() else "device"
        return f"{printable(str(path))}: it is a {found}, expected a {kind}."
    above = next((folder for folder in path.parents if folder.exists()), None)
    what = f"{printable(str(path))}: no such {kind}."
    if above is None:
        return what
    if not above.is_dir():
        return f"{what} {printable(str(above))} is a file."
    missing = path.parts[len(above.parts)]
    is_last = above == path.parent
    beside = _beside(above, missing, only_folders=kind == "folder" or not is_last)
    if is_last:
        return f"{what} Beside it: {beside}." if beside else f"{what} There is nothing beside it."
    here = "This folder" if above == Path() else printable(str(above))
    return f"{what} {here} has no {printable(missing)}{f', it has {beside}' if beside else ''}."


def _beside(folder: Path, name: str, *, only_folders: bool) -> str:
    """The names in a folder, those most similar to `name` first; empty if there are none or it cannot be read."""
    try:
        with os.scandir(folder) as found:
            read = list(islice(found, MOST_ENTRIES))
            entries = [each.name for each in read if not only_folders or each.is_dir()]
    except OSError:
        return ""
    matcher = difflib.SequenceMatcher(b=name[:LONGEST_WORD])

    def distance(entry: str) -> tuple[float, str]:
        matcher.set_seq1(entry)
        return -matcher.ratio(), entry

    names = sorted((entry for entry in entries if not entry.startswith((".", "__"))), key=distance)
    more = f" and {len(names) - SHOWN_ENTRIES} more" if len(names) > SHOWN_ENTRIES else ""
    return ", ".join(map(printable, names[:SHOWN_ENTRIES])) + more


def printable(name: str) -> str:
    """Returns the name as it can be printed everywhere: control characters and bytes that are not UTF-8 are escaped."""
    control = {"Cc", "Cs"}  # control characters; bytes of a file's name that are not UTF-8
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in control else each for each in name
    )
