"""Images of all formats, and damaged copies of them: bytes flipped, replaced, removed, inserted, cut short."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()  # to write HEIC
SIZE = (31, 23)


def whole_images() -> dict[str, bytes]:
    """Returns {name with suffix: encoded image} in every format and in the modes that it has."""
    noise = Image.effect_noise(SIZE, 80)
    rgb = Image.merge("RGB", (noise, noise.rotate(90, expand=False), noise.rotate(180)))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("rgb.png", rgb, {}),
        ("rgba.png", rgb.convert("RGBA"), {"exif": exif}),
        ("palette.png", rgb.convert("P"), {"transparency": 3}),
        ("wide.png", noise.convert("I;16"), {}),
        ("rgb.jpg", rgb, {"exif": exif}),
        ("cmyk.jpg", rgb.convert("CMYK"), {}),
        ("palette.gif", rgb.convert("P"), {}),
        ("lossy.webp", rgb, {"exif": exif}),
        ("lossless.webp", rgb.convert("RGBA"), {"lossless": True}),
        ("rgb.avif", rgb, {"exif": exif}),
        ("rgb.heic", rgb, {"exif": exif.tobytes()}),
        ("transparent.heic", rgb.convert("RGBA"), {}),
        ("rgb.bmp", rgb, {}),
        ("raw.tif", rgb, {}),
        ("lzw.tif", rgb, {"compression": "tiff_lzw", "tiffinfo": {0x0112: 6}}),
        ("deflate.tif", rgb.convert("RGBA"), {"compression": "tiff_adobe_deflate"}),
        ("jpeg.tif", rgb, {"compression": "jpeg"}),
        ("fax.tif", noise.convert("1"), {"compression": "group4"}),
        ("float.tif", noise.convert("F"), {}),
        ("pages.tiff", rgb, {"save_all": True, "append_images": [noise]}),
    ]
    return {name: _encode(image, name, options) for name, image, options in kinds}


def _encode(image: Image.Image, name: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    kind = {"jpg": "JPEG", "tif": "TIFF", "heic": "HEIF"}.get(name.split(".")[1], name.split(".")[1].upper())
    image.copy().save(buffer, kind, **options)  # save leaves settings in the image
    return buffer.getvalue()


def damaged_images(count: int, *, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yields `count` (name, damaged image), the formats in turn. Half of the damage is in the first 100 bytes."""
    whole = list(whole_images().items())
    source = random.Random(seed)
    for number in range(count):
        name, image = whole[number % len(whole)]
        data = bytearray(image)
        for _ in range(source.choice((1, 1, 2, 4, 16))):
            _damage(data, source)
        yield f"{number}-{name}", bytes(data)


def _damage(data: bytearray, source: random.Random) -> None:
    position = source.randrange(min(100, len(data)) if source.random() < 0.5 else len(data)) if data else 0
    order, size = source.choice(("big", "little")), source.choice((1, 2, 4, 100))
    damage = [
        (1, source.randbytes(1)),
        (2, source.randrange(14).to_bytes(2, order)),  # the type of a TIFF or EXIF tag, for example
        (4, source.choice((0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1)).to_bytes(4, order)),
        (size, b""),
        (0, source.randbytes(size)),
        (len(data), b""),
    ]
    length, replacement = source.choice(damage)
    data[position : position + length] = replacement
