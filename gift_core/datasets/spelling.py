"""The spelling of labels, class names, splits and files: which are the same, which are splits, how they are printed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from gift_core.errors import UserError, did_you_mean, printable

SPLIT_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation", "dev", "eval", "evaluation"),
}
MAX_NAME = 256  # letters of a label or a class name; CLIP reads 77 tokens, open_clip drops the rest
_SPLIT_ENDING = re.compile(r"(set|data|dataset|images?|imgs?)$")  # trainset, testdata


def plain_name(text: str) -> str:
    """Returns a label or a class name as it is used: composed Unicode (NFC), one space between words, none around.

    macOS stores the names of files decomposed (NFD): the same letters, but other bytes.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def plain_captions(text: str) -> str:
    """Returns the captions of an image, one a line, each as plain_name: no empty line, and none twice."""
    return "\n".join(dict.fromkeys(filter(None, map(plain_name, text.splitlines()))))


def default_class_name(label: str) -> str:
    """Returns the class name of a label that class_names does not name, wherever the label is from.

    Underscores are spaces. Hyphens stay, because CLIP knows "t-shirt" better than "t shirt".
    """
    return plain_name(label.replace("_", " "))


def comparison_key(name: str) -> str:
    """Returns what two names share that a text encoder cannot tell apart: Wren and wren, 01 and 1."""
    plain = plain_name(name).casefold()
    is_number = plain.isascii() and plain.isdigit()
    return (plain.lstrip("0") or "0") if is_number else plain


def split_of(name: str) -> str | None:
    """Returns train, test or validation for any spelling of them (Train, testing, valid), None for other names."""
    plain = plain_name(name).casefold()
    return next((split for split, names in SPLIT_NAMES.items() if plain in names), None)


def require_split(name: str, location: str) -> str:
    """Returns train, test or validation for any spelling of them. UserError, beginning with `location`, for others."""
    split = split_of(name)
    if split is None:
        hint = did_you_mean(name.casefold(), ("train", "test", "val"))
        raise UserError(f"{location}: unknown split {printable(name[:80])!r}. {hint}")
    return split


def split_within(name: str) -> str | None:
    """Returns the split that a word of the name names (seg_train, test2017, TrainSet), None for none or several."""
    words = re.findall(r"[a-z]+", name.casefold())
    splits = {split_of(_SPLIT_ENDING.sub("", word)) for word in words} - {None}
    return splits.pop() if len(splits) == 1 else None


def require_utf8(name: str, location: str) -> None:
    """Raises UserError if the name of a file, or another text, has bytes that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        problem = f"{printable(name)} is not UTF-8, so it would not be found on other machines"
        raise UserError(f"{location}: {problem}. Rename it (convmv renames whole folders).") from None


def require_sound_labels(labels: Iterable[str], location: str) -> None:
    """Raises UserError for a label that is too long, or that has control characters."""
    for label in labels:
        if len(label) > MAX_NAME or printable(label) != label:
            problem = f"the label {printable(label[:40])!r} has control characters, or more than {MAX_NAME} letters"
            raise UserError(f"{location}: {problem}. Rename it, or check that the right column or key is read.")
