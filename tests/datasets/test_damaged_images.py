"""Images of every kind and damaged ones: each is decoded, or refused with its name and one documented error."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from gift_core.datasets.bad_images import BadImageError
from gift_core.datasets.decoding import plain_image
from gift_core.errors import UserError
from tests.datasets.damaged_images import SIZE, damaged_images, tiff_with_odd_offset, whole_images
from tests.datasets.folders import birds, ingest_birds

LONGEST_SECONDS = 60  # for one image of up to 179 million pixels


def test_whole_images_of_every_kind_are_decoded() -> None:
    for name, image in whole_images().items():
        data, _ = plain_image(image, "png", shorter_side=None)
        turned = name in ("rgba.png", "rgb.jpg", "lossy.webp", "rgb.avif", "rgb.heic", "lzw.tif")  # by their EXIF data
        assert Image.open(io.BytesIO(data)).size == (SIZE[::-1] if turned else SIZE), name


def test_damaged_images_raise_one_documented_error() -> None:
    decoded = 0
    for name, image in damaged_images(1500, seed=1):
        started = time.monotonic()
        try:
            data, extension = plain_image(image, "png", shorter_side=None)
        except BadImageError as error:
            assert str(error) and "\n" not in str(error) and "0x" not in str(error), f"{name}: {error}"
        except BaseException as error:
            raise AssertionError(f"{name}: {error!r}") from error
        else:
            assert extension in ("png", "jpg"), name
            assert Image.open(io.BytesIO(data)).mode == "RGB", name
            decoded += 1
        assert time.monotonic() - started < LONGEST_SECONDS, name
    assert 100 < decoded < 1000


def test_a_tag_of_the_wrong_type_is_the_documented_error() -> None:
    """Pillow raises a TypeError."""
    with pytest.raises(BadImageError, match="cannot be interpreted as an integer"):
        plain_image(tiff_with_odd_offset(2), "png", shorter_side=None)


def claims(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with hardly any data behind it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks
    )


def not_numbers() -> bytes:
    Image.new("F", (4, 4), float("nan")).save(buffer := io.BytesIO(), "TIFF")
    return buffer.getvalue()


REFUSED = {
    "large.png": (None, "1099.5 GB: shrink it beforehand"),  # it is not read
    "nan.tif": (not_numbers(), "it has values that are infinite or not numbers"),
    "bomb.png": (claims(20_000, 20_000), "more than 179 million pixels: shrink it beforehand"),
    "narrow.png": (claims(50_000, 10), "50000 x 10 pixels: one side is more than 200 times the other, crop it"),
    "empty.jpg": (b"", "not an image"),
    "cut.jpg": (whole_images()["rgb.jpg"][:300], ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ingest_names_an_image_that_cannot_be_decoded(name: str, tmp_path: Path) -> None:
    image, reason = REFUSED[name]
    with (birds(tmp_path) / "train" / "wren" / name).open("wb") as file:
        file.truncate(2**40) if image is None else file.write(image)
    with pytest.raises(UserError) as caught:
        ingest_birds(tmp_path)
    assert f"birds: 1 image cannot be decoded: train/wren/{name} ({reason}" in str(caught.value)
    assert ingest_birds(tmp_path, on_bad_image="skip").skipped[0][0] == f"train/wren/{name}"
