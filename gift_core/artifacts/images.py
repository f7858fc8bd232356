"""What kind of encoded image some bytes are."""

from __future__ import annotations

_BEGINNINGS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg"}


def image_extension(image: bytes) -> str:
    """Returns "png" or "jpg" by the bytes' beginning; ValueError for any other: artifacts hold no other format."""
    for beginning, extension in _BEGINNINGS.items():
        if image.startswith(beginning):
            return extension
    raise ValueError(f"neither PNG nor JPEG: the bytes begin with {image[:8]!r}")
