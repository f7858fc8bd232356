"""Pairs from a user's folder: images, each with a text file of the same name that holds its caption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from gift_core.datasets.bad_images import BadImageError, bad_image_errors
from gift_core.datasets.folder_reader import FolderReader
from gift_core.errors import UserError

if TYPE_CHECKING:
    from gift_core.artifacts.shards import Pair

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
REMEDY = "Each image needs a caption: picture.jpg and picture.txt, like the `files` output of img2dataset."


def iterate_folder(folder: Path, key: str, *, first: int = 0) -> Iterator[Pair]:
    """Yields a pair for each image in `folder` and its subfolders, sorted by path, which is also the pair's key.

    The `first` pairs are left out, and their images are not read. `key` is the key in params.yaml, for errors.
    UserError for a folder without images, an image without a caption, and an empty caption. Images are not decoded here
    (see require_readable).
    """
    from gift_core.artifacts.shards import Pair  # imports pyarrow

    images = image_files(folder, key)
    if not images:
        raise UserError(f"{key}: {folder} has no images ({', '.join(SUFFIXES)}). {REMEDY}")
    numbers: dict[str, int] = {}
    for row, path in enumerate(images):
        caption = " ".join(caption_text(path, key).split())
        number = numbers.setdefault(caption, len(numbers))
        if row >= first:
            yield Pair(path.relative_to(folder).as_posix(), number, caption, path.read_bytes(), path.read_bytes)


def caption_text(path: Path, key: str) -> str:
    """Returns the text of the caption file of the image `path`. UserError if it is missing, empty or not UTF-8."""
    file = path.with_suffix(".txt")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{key}: {path} has no caption: {file.name} does not exist. {REMEDY}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{key}: {file} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from None
    if not text.strip():
        raise UserError(f"{key}: {file} is empty. Write the caption or remove the image.")
    return text


def require_readable(folder: Path, key: str) -> None:
    """Raises UserError for the first file in `folder` that cannot be decoded.

    It is slow, so it only runs to name the file after decoding has failed somewhere.
    """
    for path in image_files(folder, key):
        try:
            with bad_image_errors(), Image.open(path) as image:
                image.convert("RGB")  # verify() does not detect a truncated JPEG
        except BadImageError as error:
            raise UserError(f"{key}: {path} cannot be read as an image ({error}). Replace or remove it.") from None


def image_files(folder: Path, key: str) -> list[Path]:
    """Returns the images at any depth, without hidden files, in the order of their paths."""
    if not folder.is_dir():
        return []
    files = (path for path, _ in FolderReader(folder, f"{key}: {folder}").files(folder))
    return sorted(path for path in files if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists()))
