"""Raw image files as plain RGB: upright, without palette or transparency, one frame."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
JPEG_QUALITY = 95
_UPRIGHT = 1
_ORIENTATION = 0x0112  # the EXIF tag


def plain_image(path: Path, image_format: str) -> tuple[bytes, str]:
    """Returns (encoded image, its extension): the file's own bytes where they are plain already, else encoded again.

    Plain: an upright RGB JPEG, or a one-frame RGB PNG of 8 bits. Everything else becomes `image_format` (png or jpg):
    EXIF rotation applied, transparency laid on white, palettes, grey, CMYK and 16 bits converted, the first frame of
    several. OSError, ValueError or SyntaxError (Pillow's own) where the file cannot be decoded.
    """
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        image.load()  # the whole file: a cut one is found out here
        kind = {"JPEG": "jpg", "PNG": "png"}.get(image.format or "")
        upright = image.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
        plain = image.mode == "RGB" and "transparency" not in image.info and getattr(image, "n_frames", 1) == 1
        if kind and upright and plain and not _has_16_bits(data, kind):
            return data, kind
        return encode_image(to_rgb(image), image_format), image_format


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns the image as it is meant to be seen, RGB of 8 bits: turned upright, on white where it is transparent."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_wide_grey(image)
    if "A" in image.getbands() or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def encode_image(image: Image.Image, image_format: str) -> bytes:
    """Returns the RGB image as PNG or JPEG bytes without metadata; the same image gives the same bytes."""
    buffer = io.BytesIO()
    if image_format == "jpg":
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()


def _from_wide_grey(image: Image.Image) -> Image.Image:
    """Grey values beyond 8 bits: 16-bit ones keep their upper byte (Pillow's own convert would cut them off at 255)."""
    values_HW = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16") or values_HW.max() > 255:
        values_HW = values_HW / 257  # 65535 -> 255
    return Image.fromarray(np.clip(np.rint(values_HW), 0, 255).astype(np.uint8)).convert("RGB")


def _has_16_bits(data: bytes, kind: str) -> bool:
    """True for a PNG of 16 bits a channel, which Pillow shows as plain RGB. Byte 24 is the header's bit depth."""
    return kind == "png" and data[24] == 16
