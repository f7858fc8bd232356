"""The contact sheet: a fixed sample of a task's synthetic pairs as small pictures inside the page."""

from __future__ import annotations

import base64
import io

from PIL import Image

from gift_core.report.record import Thumbnail

THUMBNAIL_SIDE = 128


def thumbnail(prompt: str, image: bytes) -> Thumbnail:
    """The picture as a data URI: as it is when small, else scaled to at most 128 px (JPEG, quality 80)."""
    with Image.open(io.BytesIO(image)) as picture:
        side, kind = max(picture.size), (picture.format or "PNG").lower()
        if side > THUMBNAIL_SIDE:
            small = picture.convert("RGB")
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=80)
            image, kind, side = buffer.getvalue(), "jpeg", THUMBNAIL_SIDE
    return Thumbnail(prompt, f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}", side)
