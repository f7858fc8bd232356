"""Raw image files become plain RGB."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gift_core.tasks.images import encode_image, plain_image, to_rgb


def pixels(data: bytes) -> np.ndarray:
    """uint8 [H, W, 3] of an encoded image that must be RGB without palette or transparency."""
    image = Image.open(io.BytesIO(data))
    assert image.mode == "RGB"
    return np.asarray(image)


def plain_pixels(path: Path) -> np.ndarray:
    data, extension = plain_image(path, "png")
    assert extension == "png"
    return pixels(data)


def test_an_image_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    image = Image.new("RGB", (32, 16), "black")
    image.paste("white", (0, 0, 16, 16))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned 90 degrees clockwise: left becomes top
    image.save(path, exif=exif, quality=100)
    found_HWC = plain_pixels(path)
    assert found_HWC.shape == (32, 16, 3)
    assert found_HWC[:14].min() > 200
    assert found_HWC[-14:].max() < 50


def test_an_upright_jpeg_with_exif_keeps_its_bytes(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.jpg", exif=exif)
    assert plain_image(tmp_path / "a.jpg", "png") == ((tmp_path / "a.jpg").read_bytes(), "jpg")


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 128))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(plain_pixels(tmp_path / "a.png"), [[[255, 255, 255], [255, 127, 127]]])


def test_a_transparent_palette_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(plain_pixels(tmp_path / "a.png"), [[[255, 255, 255], [0, 0, 255]]])


def test_a_transparent_colour_of_an_rgb_image_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), (9, 9, 9))
    image.putpixel((1, 0), (0, 0, 255))
    image.save(tmp_path / "a.png", transparency=(9, 9, 9))
    np.testing.assert_array_equal(plain_pixels(tmp_path / "a.png"), [[[255, 255, 255], [0, 0, 255]]])


@pytest.mark.parametrize(("mode", "colour", "expected"), [("L", 77, 77), ("1", 1, 255), ("LA", (77, 255), 77)])
def test_grey_becomes_three_equal_channels(mode: str, colour: int, expected: int, tmp_path: Path) -> None:
    Image.new(mode, (1, 1), colour).save(tmp_path / "a.png")
    np.testing.assert_array_equal(plain_pixels(tmp_path / "a.png"), [[[expected] * 3]])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    found_HWC = plain_pixels(tmp_path / "a.jpg")
    np.testing.assert_allclose(found_HWC[4, 4], (255, 0, 0), atol=4)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_keeps_its_upper_byte(suffix: str, tmp_path: Path) -> None:
    values_HW = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values_HW).save(tmp_path / f"a.{suffix}")
    expected = [[[value] * 3 for value in (0, 1, 128, 255)]]
    np.testing.assert_array_equal(plain_pixels(tmp_path / f"a.{suffix}"), expected)


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    for suffix in ("gif", "png", "webp"):
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
        found_HWC = plain_pixels(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(found_HWC[0, 0], (255, 0, 0))


def test_a_16_bit_rgb_png_is_encoded_again(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00" + struct.pack(">HHH", 65535, 32896, 0))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b""))
    data, _ = plain_image(path, "png")
    assert data[24] == 8
    np.testing.assert_array_equal(pixels(data), [[[255, 128, 0]]])


def test_encoding_twice_gives_the_same_bytes() -> None:
    image = Image.effect_noise((16, 16), 60).convert("RGB")
    for image_format in ("png", "jpg"):
        assert encode_image(image, image_format) == encode_image(image.copy(), image_format)


def test_an_rgb_image_stays_as_it_is() -> None:
    image = Image.effect_noise((16, 16), 60).convert("RGB")
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.asarray(image))


def test_png_keeps_every_pixel() -> None:
    image = Image.effect_noise((16, 16), 60).convert("RGB")
    np.testing.assert_array_equal(pixels(encode_image(image, "png")), np.asarray(image))
