"""Raw image files become plain RGB, or are refused with their name and one documented error."""

from __future__ import annotations

import io
import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from gift_core.artifacts.task import read_task
from gift_core.datasets.decoding import BadImageError, plain_image
from gift_core.datasets.status import check_images
from gift_core.errors import UserError
from tests.artifacts.damage import encoded
from tests.datasets.folders import birds, colors, ingest_birds, open_birds

pillow_heif.register_heif_opener()  # to write HEIC
WHITE = (255, 255, 255)
Pixel = tuple[int, ...]


def plain_pixels(data: bytes, **options: Any) -> np.ndarray:
    """What is stored of an image, which must be RGB without palette or transparency: int [H, W, 3]."""
    stored, *_ = plain_image(data, "png", **{"shorter_side": None, **options})
    image = Image.open(io.BytesIO(stored))
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def row(mode: str, *pixels: Any) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def palette() -> Image.Image:
    image = row("P", 0, 1)
    image.putpalette([0, 0, 0, 0, 0, 255])
    return image


def gray(*values: int) -> list[Pixel]:
    return [(value,) * 3 for value in values]


CLEAR_AND_RED = row("RGBA", (0, 0, 0, 0), (255, 0, 0, 255))
WIDE = Image.fromarray(np.array([[0, 257, 32896, 51400, 65535]], dtype=np.uint16))


@pytest.mark.parametrize(
    ("kind", "image", "options", "expected"),
    [
        # transparency becomes white
        ("PNG", row("RGBA", (0, 0, 0, 0), (255, 0, 0, 128)), {}, [WHITE, (255, 127, 127)]),
        ("PNG", row("LA", (0, 0), (100, 255)), {}, [WHITE, (100, 100, 100)]),
        ("PNG", row("RGB", (9, 9, 9), (0, 0, 255)), {"transparency": (9, 9, 9)}, [WHITE, (0, 0, 255)]),
        ("PNG", WIDE, {"transparency": 0}, gray(255, 1, 128, 200, 255)),
        ("PNG", palette(), {"transparency": 0}, [WHITE, (0, 0, 255)]),
        ("WEBP", CLEAR_AND_RED, {"lossless": True}, [WHITE, (255, 0, 0)]),
        ("GIF", CLEAR_AND_RED, {}, [WHITE, (255, 0, 0)]),
        # other modes
        ("PNG", row("L", 77), {}, gray(77)),
        ("PNG", row("1", 1), {}, gray(255)),
        ("PNG", WIDE, {}, gray(0, 1, 128, 200, 255)),  # the upper byte
        ("TIFF", WIDE, {}, gray(0, 1, 128, 200, 255)),
        ("TIFF", row("F", 0.0, 0.5, 1.0), {}, gray(0, 128, 255)),  # shares of white
        ("TIFF", row("F", 0.0, 128.0, 255.0), {}, gray(0, 128, 255)),  # values of 8 bits
        ("TIFF", row("CMYK", (255, 0, 0, 0)), {}, [(0, 255, 255)]),
    ],
)
def test_all_modes_become_rgb(kind: str, image: Image.Image, options: dict[str, Any], expected: list[Pixel]) -> None:
    np.testing.assert_array_equal(plain_pixels(encoded(image, kind, **options)), [expected])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        ("HEIF", {"quality": -1, "chroma": 444}),
    ],
)
def test_every_orientation_shows_the_same_picture(kind: str, options: dict[str, Any]) -> None:
    """The corners of the picture as it is meant to be seen: red, green / blue, white; stored turned or mirrored."""
    seen = Image.new("RGB", (32, 16), "white")
    for color, place in (("red", (0, 0)), ("lime", (16, 0)), ("blue", (0, 8))):
        seen.paste(color, (*place, place[0] + 16, place[1] + 8))
    # what a viewer undoes, by the standard
    turns = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270")
    exif = Image.Exif()
    for orientation, turn in enumerate((None, *turns), 1):
        stored, exif[0x0112] = seen.transpose(Image.Transpose[turn]) if turn else seen, orientation
        found = plain_pixels(encoded(stored, kind, exif=exif.tobytes(), **options))
        np.testing.assert_allclose(found, np.asarray(seen).astype(int), atol=4, err_msg=str(orientation))


def test_files_of_several_frames_or_pages_are_counted_and_the_first_is_read(tmp_path: Path) -> None:
    folder = birds(tmp_path) / "train" / "wren"
    frames = [Image.new("RGB", (16, 16), color) for color in ((255, 0, 0), (0, 0, 255))]
    names = {"7.gif": "GIF", "7.png": "PNG", "7.webp": "WEBP", "7.tif": "TIFF", "7.avif": "AVIF", "8.heic": "HEIF",
             "7.jpg": "MPO"}  # fmt: skip
    for name, kind in names.items():
        frames[0].save(folder / name, kind, save_all=True, append_images=frames[1:])
    info = ingest_birds(tmp_path)
    named = ", ".join(f"train/wren/{name}" for name in sorted(names)[:5])
    what = "7 images have several frames or pages, of which only the first is read"
    assert info.notes == (f"{what}: {named} and 2 more.",)
    read = [color for color, _ in colors(tmp_path / "task", "train")[-7:]]
    np.testing.assert_allclose(read, [(255, 0, 0)] * 7, atol=8)


def test_without_its_reader_heic_is_noticed_or_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = birds(tmp_path) / "train" / "wren"
    for name in ("7.HEIC", "8.hif"):
        (folder / name).write_bytes(encoded(Image.new("RGB", (16, 16)), "HEIF"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    found = check_images(open_birds(tmp_path), "birds")
    assert [name for name, _ in found.broken] == ["train/wren/7.HEIC", "train/wren/8.hif"]
    assert "make setup EXTRAS=heic, or pip install 'gift-pipeline[heic]'" in found.broken_line()
    info = ingest_birds(tmp_path, on_bad_image="skip")
    (name, reason), *_ = info.skipped
    assert (name, info.counts["train"]) == ("train/wren/7.HEIC", 6)
    assert reason.startswith("HEIC is read by pillow-heif (") and "make setup EXTRAS=heic, or pip " in reason


def noise(kind: str, size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    return encoded(Image.effect_noise(size, 80).convert("RGB"), kind, **options)


@pytest.mark.parametrize(("size", "shrunk"), [((80, 60), (40, 30)), ((60, 90), (30, 45)), ((100, 31), (97, 30))])
def test_a_larger_shorter_side_is_shrunk(size: tuple[int, int], shrunk: tuple[int, int]) -> None:
    data, extension, _ = plain_image(noise("JPEG", size), "png", shorter_side=30)
    assert (extension, Image.open(io.BytesIO(data)).size) == ("png", shrunk)


@pytest.mark.parametrize(("size", "shorter_side"), [((30, 80), 30), ((20, 10), 30), ((80, 80), None)])
def test_an_upright_jpeg_that_is_small_enough_keeps_its_bytes(size: tuple[int, int], shorter_side: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    data = noise("JPEG", size, exif=exif)
    assert plain_image(data, "png", shorter_side=shorter_side) == (data, "jpg", False)


def whole_images() -> list[bytes]:
    """An image in every format and compression, and in modes that are decoded in different ways."""
    gray, exif = Image.effect_noise((31, 23), 80), Image.Exif()
    rgb = Image.merge("RGB", (gray, gray.rotate(90, expand=False), gray.rotate(180)))
    exif[0x0112], exif[0x010E] = 6, "a description"
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("PNG", rgb.convert("RGBA"), {"exif": exif}),
        ("PNG", rgb.convert("P"), {"transparency": 3}),
        ("PNG", gray.convert("I;16"), {}),
        ("JPEG", rgb.convert("CMYK"), {"exif": exif}),
        ("GIF", rgb.convert("P"), {}),
        ("WEBP", rgb, {"exif": exif}),
        ("AVIF", rgb, {"exif": exif}),
        ("HEIF", rgb.convert("RGBA"), {"exif": exif.tobytes()}),
        ("BMP", rgb, {}),
        ("TIFF", rgb, {"save_all": True, "append_images": [gray]}),
        ("TIFF", gray.convert("1"), {"compression": "group4"}),
        ("TIFF", gray.convert("F"), {}),
        *(("TIFF", rgb, {"compression": each}) for each in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
    ]
    return [encoded(image.copy(), kind, **options) for kind, image, options in kinds]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_images_raise_one_documented_error() -> None:
    """Bytes are replaced, removed or inserted, or the file is cut short. Half of it is in the first 100 bytes."""
    decoded, source, whole = 0, random.Random(1), whole_images()
    for number in range(1500):
        data = bytearray(whole[number % len(whole)])
        for _ in range(source.choice((1, 1, 2, 4, 16))):
            position = source.randrange(min(100, len(data)) + 1 if source.random() < 0.5 else len(data) + 1)
            removed, added = source.choice(((1, 1), (2, 2), (4, 4), (4, 0), (0, 4), (len(data), 0)))
            data[position : position + removed] = source.randbytes(added)
        try:
            stored, extension, _ = plain_image(bytes(data), "png", shorter_side=None)
        except BadImageError as error:
            assert str(error) and "\n" not in str(error) and "0x" not in str(error), f"{number}: {error}"
        else:
            assert extension in ("png", "jpg") and Image.open(io.BytesIO(stored)).mode == "RGB", number
            decoded += 1
    assert 100 < decoded < 1000


def claims(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with hardly any data behind it."""
    chunks = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(1000))
    parts = (struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


REFUSED = {
    "nan.tif": (encoded(Image.new("F", (4, 4), float("nan")), "TIFF"), "it has values that are infinite or not nu"),
    "bomb.png": (claims(20_000, 20_000), "more than 179 million pixels: shrink it beforehand"),
    "narrow.png": (claims(50_000, 10), "50000 x 10 pixels: one side is more than 200 times the other, crop it"),
    "empty.jpg": (b"", "not an image"),
    "cut.jpg": (noise("JPEG")[:300], ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ingest_names_an_image_that_cannot_be_decoded(name: str, tmp_path: Path) -> None:
    image, reason = REFUSED[name]
    (birds(tmp_path) / "train" / "wren" / name).write_bytes(image)
    with pytest.raises(UserError) as caught:
        ingest_birds(tmp_path)
    assert f"birds: 1 image cannot be decoded: train/wren/{name} ({reason}" in str(caught.value)
    info = ingest_birds(tmp_path, on_bad_image="skip")
    assert (info.skipped[0][0], info.counts["train"]) == (f"train/wren/{name}", 6)
    assert read_task(tmp_path / "task") == info
