"""Pairs of a user's folder: images, and beside each a text file of the same name with its caption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from gift_core.artifacts.shards import Pair
from gift_core.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
REMEDY = "Put there images with a caption each: picture.jpg and picture.txt (img2dataset's `files` output is so)."


def iterate_folder(folder: Path, place: str) -> Iterator[Pair]:
    """Yields a pair for each image in `folder` or below it, in the order of their paths; the key is the path.

    UserError, with `place` (the key in params.yaml), for a folder without images, an image without a caption, an empty
    caption, a file that is no image.
    """
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not images:
        raise UserError(f"{place}: {folder} holds no images ({', '.join(SUFFIXES)}). {REMEDY}")
    numbers: dict[str, int] = {}
    for path in images:
        caption = _caption_of(path, place)
        _require_image(path, place)
        number = numbers.setdefault(caption, len(numbers))
        yield Pair(path.relative_to(folder).as_posix(), number, caption, path.read_bytes())


def _caption_of(path: Path, place: str) -> str:
    file = path.with_suffix(".txt")
    try:
        caption = " ".join(file.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        raise UserError(f"{place}: {path} has no caption: there is no {file.name} beside it. {REMEDY}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: {file} is no UTF-8 text ({error.reason}). Save it as UTF-8.") from None
    if not caption:
        raise UserError(f"{place}: {file} is empty. Write the caption, or remove the image.")
    return caption


def _require_image(path: Path, place: str) -> None:
    try:
        with Image.open(path) as image:
            image.convert("RGB")  # verify() does not notice a JPEG that was cut short
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"{place}: {path} cannot be read as an image ({error}). Replace or remove it.") from None
