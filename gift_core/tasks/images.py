"""Raw image files as plain RGB: upright, without palette or transparency, one frame."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
JPEG_QUALITY = 95
_UPRIGHT = 1
_ORIENTATION = 0x0112  # the EXIF tag


def plain_image(data: bytes, image_format: str, *, shorter_side: int | None) -> tuple[bytes, str]:
    """Returns (encoded image, its extension): the file's own bytes where they are plain already, else encoded again.

    Plain: an upright RGB JPEG, or a one-frame RGB PNG of 8 bits. Everything else becomes `image_format` (png or jpg):
    EXIF rotation applied, transparency laid on white, palettes, grey, CMYK and 16 bits converted, the first frame of
    several. So does an image whose shorter side is above `shorter_side` px: it is shrunk to it; null shrinks none.
    OSError, ValueError or SyntaxError (Pillow's own) where the file cannot be decoded, or holds too many pixels.
    """
    with _open(data) as image:
        image.load()  # the whole file: a cut one is found out here
        kind = {"JPEG": "jpg", "PNG": "png"}.get(image.format or "")
        upright = image.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
        plain = image.mode == "RGB" and "transparency" not in image.info and getattr(image, "n_frames", 1) == 1
        small = shorter_side is None or min(image.size) <= shorter_side
        if kind and upright and plain and small and not _has_16_bits(data, kind):
            return data, kind
        return encode_image(_shrink(to_rgb(image), shorter_side), image_format), image_format


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


def _open(data: bytes) -> Image.Image:
    """Opens the image; ValueError for one of so many pixels that Pillow takes it for an attack on the memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # from half of the limit on
            return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(f"more than {limit / 1e6:.0f} million pixels: shrink it beforehand") from None


def _shrink(image: Image.Image, shorter_side: int | None) -> Image.Image:
    """The image with its shorter side at `shorter_side` px, if it is above: bicubic, averaged over what falls away."""
    if shorter_side is None or min(image.size) <= shorter_side:
        return image
    scale = shorter_side / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _from_wide_grey(image: Image.Image) -> Image.Image:
    """Grey beyond 8 bits: 16-bit values keep their upper byte (Pillow's own convert would cut them off at 255).

    Floats up to 1 are shares of white. A transparent grey (PNG names it by its value) is laid on white.
    """
    values_HW = np.asarray(image).astype(np.float64)
    grey_HW = values_HW
    if image.mode.startswith("I;16") or values_HW.max() > 255:
        grey_HW = values_HW / 257  # 65535 -> 255
    elif image.mode == "F" and values_HW.max() <= 1:
        grey_HW = values_HW * 255
    if "transparency" in image.info:
        grey_HW = np.where(values_HW == image.info["transparency"], 255, grey_HW)
    return Image.fromarray(np.clip(np.rint(grey_HW), 0, 255).astype(np.uint8)).convert("RGB")


def _has_16_bits(data: bytes, kind: str) -> bool:
    """True for a PNG of 16 bits a channel, which Pillow shows as plain RGB. Byte 24 is the header's bit depth."""
    return kind == "png" and data[24] == 16
