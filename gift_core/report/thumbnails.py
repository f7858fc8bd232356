"""Small images inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from gift_core.artifacts.contract import broken

THUMBNAIL_SIDE = 96  # pixels
THUMBNAIL_BYTES = 12_000  # of an image that is shown as it is
JPEG_QUALITY = 80
T = TypeVar("T")


@dataclass(frozen=True)
class Thumbnail:
    """An image: what it shows in words, the image as a data URI, its longer side in pixels."""

    text: str
    data_uri: str
    side: int


def thumbnail(text: str, image: bytes, *, file: Path, stage: str) -> Thumbnail:
    """Returns the image unchanged if it is small, else as a JPEG whose longer side is THUMBNAIL_SIDE.

    ContractError that names `file` and the stage that makes it again, if the image cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(image)) as picture:
            side, kind = max(picture.size), (picture.format or "PNG").lower()
            if side > THUMBNAIL_SIDE or len(image) > THUMBNAIL_BYTES or kind not in ("png", "jpeg"):
                decoded, buffer = picture.convert("RGB"), io.BytesIO()
                small = Image.new("RGB", decoded.size)  # without comments and color profiles, which may be of any size
                small.paste(decoded)
                small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
                small.save(buffer, "JPEG", quality=JPEG_QUALITY)
                image, side, kind = buffer.getvalue(), max(small.size), "jpeg"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
        raise broken(file, f"the image of {text!r} should be decodable, but {error}", stage) from error
    return Thumbnail(text, f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}", side)


def a_few(items: Sequence[T], most: int) -> list[T]:
    """Returns at most `most` of the items, evenly spaced, among them the first and, unless `most` is 1, the last."""
    count = min(len(items), most)
    return [items[round(index * (len(items) - 1) / max(1, count - 1))] for index in range(count)]
