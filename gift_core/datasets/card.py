"""The card of a data set of the Hugging Face hub: the YAML at the top of its README.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.untrusted import parse_yaml

CARD = "README.md"


def read_card(text: str) -> dict[str, Any]:
    """Returns the metadata of a data set's card: the YAML between two lines "---". Without any, an empty dictionary."""
    try:
        metadata = parse_yaml(text.split("---", 2)[1]) if text.startswith("---") else {}
    except (ValueError, IndexError):  # the names of the files are enough
        metadata = {}
    return metadata if isinstance(metadata, dict) else {}


def card_of(folder: Path) -> dict[str, Any]:
    """Returns the metadata of the card in the folder of a data set, as read_card. Empty without a card."""
    file = folder / CARD
    return read_card(file.read_text("utf-8", "replace")) if file.is_file() else {}


def sections(value: Any) -> list[dict[str, Any]]:
    """Returns the sections of a card in a list, or one alone. Cards may have anything there."""
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, dict)]


def names_in_card(card: Mapping[str, Any], column: str) -> tuple[str, ...]:
    """Returns the names of the numbers 0, 1, ... of a column (class_label). Empty if the card has none, or several."""
    listed = [feature for info in sections(card.get("dataset_info")) for feature in sections(info.get("features"))]
    names = {_names_of(feature.get("dtype")) for feature in listed if feature.get("name") == column} - {()}
    return names.pop() if len(names) == 1 else ()


def _names_of(dtype: Any) -> tuple[str, ...]:
    """The names of a dtype {class_label: {names: {"0": wren, "1": owl}}}. Empty for any other one."""
    for key in ("class_label", "names"):
        dtype = dtype.get(key) if isinstance(dtype, dict) else None
    names = dtype if isinstance(dtype, dict) else {}
    numbers = list(map(str, range(len(names))))
    return tuple(str(names[number]) for number in numbers) if names.keys() == {*numbers} else ()
