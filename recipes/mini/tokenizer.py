"""A byte-level BPE tokenizer of the miniature world's captions, in the layout of CLIP's."""

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

Word = tuple[str, ...]


def _byte_characters() -> list[str]:
    """Returns the 256 printable characters that stand for bytes, in the order of CLIP's vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [chr(256 + index) for index in range(256 - len(plain))]
    return [chr(code) for code in plain] + others


def _merged(word: Word, pair: tuple[str, str]) -> Word:
    pieces: list[str] = []
    for piece in word:
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


def learn_merges(captions: list[str], limit: int) -> list[tuple[str, str]]:
    """Returns up to `limit` merges, the most frequent pair first, ties in alphabetical order.

    It stops early when every word is one token.
    """
    found = Counter(word for caption in captions for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", caption.lower()))
    words: dict[Word, int] = {(*word[:-1], word[-1] + "</w>"): count for word, count in sorted(found.items())}
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_merged(word, best): count for word, count in words.items()}
    return merges


def make_tokenizer(captions: list[str], *, merges: int, context_length: int) -> Any:
    """Returns a transformers CLIPTokenizer of the captions. It pads with the end token, like Stable Diffusion's."""
    from transformers import CLIPTokenizer

    learned = learn_merges(captions, merges)
    characters = _byte_characters()
    entries = [*characters, *(character + "</w>" for character in characters), *("".join(pair) for pair in learned)]
    vocabulary = {entry: index for index, entry in enumerate([*entries, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=learned, model_max_length=context_length)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Writes the tokenizer's files, for AutoTokenizer and for open_clip's `hf_tokenizer_name`."""
    tokenizer.save_pretrained(str(folder))
