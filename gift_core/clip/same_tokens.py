"""Texts that are one text to a model, because its tokenizer gives them the same tokens. Imports no torch."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_IGNORED, _PUNCTUATION = re.compile("[^a-z0-9]"), re.compile(r"[^a-z0-9\s]")


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer of a model, which `load` returns, and its context: the tokens of a text, start and end included.

    It is loaded when it is needed first, because that takes seconds.
    """

    context: int
    load: Callable[[], Callable[[list[str]], Any]]

    @cached_property
    def _loaded(self) -> Callable[[list[str]], Any]:
        return self.load()

    def rows(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Returns the tokens of each text."""
        return [tuple(row) for row in self._loaded(list(texts)).tolist()]

    def first_of(self, items: Sequence[Sequence[str]]) -> list[int]:
        """Returns for each item, one text or several, the number of the first one whose texts have the same tokens.

        Only what could have the tokens of another one is tokenized.
        """
        numbers = list(range(len(items)))
        candidates = may_share_tokens([texts[0] for texts in items], self.context)
        rows = iter(self.rows([text for number in candidates for text in items[number]]) if candidates else ())
        first: dict[tuple[tuple[int, ...], ...], int] = {}
        for number in candidates:
            numbers[number] = first.setdefault(tuple(next(rows) for _ in items[number]), number)
        return numbers

    def count_repeated(self, texts: Iterable[str]) -> int:
        """Returns how many of the different texts have the tokens of an earlier one."""
        different = list(dict.fromkeys(texts))
        return sum(first != number for number, first in enumerate(self.first_of(list(zip(different)))))


def tokenizer_of(loaded: Callable[[list[str]], Any]) -> Tokenizer:
    """Returns a tokenizer that is loaded."""
    return Tokenizer(len(loaded([""])[0]), lambda: loaded)


def may_share_tokens(texts: Sequence[str], context: int) -> list[int]:
    """Returns the numbers of the texts that could have the tokens of another one, by what tokenizers do.

    They ignore case and spaces, and some ignore punctuation, accents, or letters that English does not have. They read
    HTML entities, and cut what exceeds the context. A token has a byte or more, so texts that are cut to the same
    tokens begin with the same bytes.
    """
    kept = context - 3  # without start, end, and the mark that some put before a text
    keys = [_keys(text, kept) for text in texts]
    with_marks = Counter(key for key, _ in keys)
    without_marks = Counter(key for _, key in keys)
    return [number for number, (key, plain) in enumerate(keys) if with_marks[key] > 1 or without_marks[plain] > 1]


def _keys(text: str, kept: int) -> tuple[str, str]:
    """What the first bytes of two texts share if they have the same tokens, with punctuation and without it."""
    plain = unicodedata.normalize("NFKD", html.unescape(html.unescape(text))).casefold()
    whole = _start(plain, kept)
    without = _start(_PUNCTUATION.sub("", plain.replace("_", " ")), kept)
    return _IGNORED.sub("", whole), _IGNORED.sub("", without)


def _start(text: str, kept: int) -> str:
    return " ".join(text.split()).encode()[:kept].decode(errors="ignore")
