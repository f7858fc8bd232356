"""Raw image files become plain RGB."""

from __future__ import annotations

import io
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from gift_core.datasets import decoding
from gift_core.datasets.bad_images import BadImageError
from gift_core.datasets.decoding import in_order, plain_image
from gift_core.errors import UserError
from tests.datasets.folders import birds, colors, ingest_birds, picture

pillow_heif.register_heif_opener()  # to write HEIC

PNG = b"\x89PNG\r\n\x1a\n"


def pixels(data: bytes) -> np.ndarray:
    """uint8 [H, W, 3] of an encoded image that must be RGB without palette or transparency."""
    image = Image.open(io.BytesIO(data))
    assert image.mode == "RGB"
    return np.asarray(image)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def plain_pixels(path: Path) -> np.ndarray:
    data, extension = plain_image(path.read_bytes(), "png", shorter_side=None)
    assert extension == "png"
    return pixels(data)


def two_pixels(mode: str, first: Any, second: Any) -> Image.Image:
    image = Image.new(mode, (2, 1), first)
    image.putpixel((1, 0), second)
    return image


def palette() -> Image.Image:
    image = two_pixels("P", 0, 1)
    image.putpalette([0, 0, 0, 0, 0, 255])
    return image


CLEAR_AND_RED = two_pixels("RGBA", (0, 0, 0, 0), (255, 0, 0, 255))


@pytest.mark.parametrize(
    ("suffix", "image", "options", "second"),
    [
        ("png", two_pixels("RGBA", (0, 0, 0, 0), (255, 0, 0, 128)), {}, (255, 127, 127)),
        ("png", two_pixels("LA", (0, 0), (100, 255)), {}, (100, 100, 100)),
        ("png", two_pixels("RGB", (9, 9, 9), (0, 0, 255)), {"transparency": (9, 9, 9)}, (0, 0, 255)),
        ("png", Image.fromarray(np.array([[0, 32896]], dtype=np.uint16)), {"transparency": 0}, (128, 128, 128)),
        ("png", palette(), {"transparency": 0}, (0, 0, 255)),
        ("webp", CLEAR_AND_RED, {"lossless": True}, (255, 0, 0)),
        ("gif", CLEAR_AND_RED, {}, (255, 0, 0)),
    ],
)
def test_transparency_becomes_white(
    suffix: str, image: Image.Image, options: dict[str, Any], second: tuple[int, ...], tmp_path: Path
) -> None:
    image.save(tmp_path / f"a.{suffix}", **options)
    np.testing.assert_array_equal(plain_pixels(tmp_path / f"a.{suffix}"), [[(255, 255, 255), second]])


def row(values: list[float], kind: type[np.generic]) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=kind))


def gray(*values: int) -> list[tuple[int, ...]]:
    return [(value,) * 3 for value in values]


@pytest.mark.parametrize(
    ("suffix", "image", "expected"),
    [
        ("png", Image.new("L", (1, 1), 77), gray(77)),
        ("png", Image.new("1", (1, 1), 1), gray(255)),
        ("png", row([0, 257, 32896, 65535], np.uint16), gray(0, 1, 128, 255)),  # the upper byte
        ("tif", row([0, 257, 32896, 65535], np.uint16), gray(0, 1, 128, 255)),
        ("tif", row([0.0, 0.5, 1.0], np.float32), gray(0, 128, 255)),  # shares of white
        ("tif", row([0.0, 128.0, 255.0], np.float32), gray(0, 128, 255)),  # values of 8 bits
        ("tif", Image.new("CMYK", (1, 1), (255, 0, 0, 0)), [(0, 255, 255)]),
    ],
)
def test_other_modes_become_rgb(
    suffix: str, image: Image.Image, expected: list[tuple[int, ...]], tmp_path: Path
) -> None:
    image.save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(plain_pixels(tmp_path / f"a.{suffix}"), [expected])


def test_a_16_bit_rgb_png_is_encoded_again() -> None:
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00" + struct.pack(">HHH", 65535, 32896, 0))
    image = PNG + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    data, _ = plain_image(image, "png", shorter_side=None)
    assert data[24] == 8
    np.testing.assert_array_equal(pixels(data), [[[255, 128, 0]]])


@pytest.mark.parametrize(("black", "level"), [(0, 255), (255, 0)])
def test_cmyk_of_a_jpeg_is_inverted_as_adobe_writes_it(black: int, level: int, tmp_path: Path) -> None:
    """The file holds 255 - ink, and says so by Adobe's marker; no ink is white, and not black."""
    Image.new("CMYK", (8, 8), (0, 0, 0, black)).save(tmp_path / "a.jpg", quality=100)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    np.testing.assert_allclose(plain_pixels(tmp_path / "a.jpg")[4, 4], (level,) * 3, atol=3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "heic"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_shows_the_same_picture(suffix: str, orientation: int, tmp_path: Path) -> None:
    """The corners of the picture as it is meant to be seen: red, green / blue, white; stored turned or mirrored."""
    seen = Image.new("RGB", (32, 16), "white")
    for color, place in (("red", (0, 0)), ("lime", (16, 0)), ("blue", (0, 8))):
        seen.paste(color, (*place, place[0] + 16, place[1] + 8))
    stored = {  # what a viewer undoes, by the EXIF standard
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {
        "webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0},
        "avif": {"quality": 100, "subsampling": "4:4:4"}, "heic": {"quality": -1, "chroma": 444},
    }.get(suffix, {})  # fmt: skip
    path = tmp_path / f"a.{suffix}"
    (seen.transpose(stored) if stored is not None else seen).save(path, exif=exif.tobytes(), **options)
    data, _ = plain_image(path.read_bytes(), "png", shorter_side=None)
    np.testing.assert_allclose(pixels(data).astype(int), np.asarray(seen).astype(int), atol=4)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("JPEG", "heic"), *((kind, "jpg") for kind in ("PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"))],
)
def test_the_content_decides_the_format_and_not_the_name(kind: str, suffix: str, tmp_path: Path) -> None:
    (folder := tmp_path / "birds" / "wren").mkdir(parents=True)
    encoded = encode((210, 100, 50), kind)
    for number in range(2):
        (folder / f"{number}.{suffix}").write_bytes(encoded)
        picture(tmp_path / "birds" / "heron" / f"{number}.png")
    ingest_birds(tmp_path, test_fraction=0.5)
    (color,) = [color for color, label in colors(tmp_path / "task", "test") if label == 1]
    np.testing.assert_allclose(color, (210, 100, 50), atol=8)


def encode(color: tuple[int, ...], kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (16, 16), color).save(buffer, kind, **options)
    return buffer.getvalue()


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


@pytest.fixture
def no_heic_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Python without pillow-heif."""
    decoding._register_heic.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    yield
    decoding._register_heic.cache_clear()


def test_without_its_reader_heic_is_refused_before_anything_is_decoded(tmp_path: Path, no_heic_reader: None) -> None:
    folder = birds(tmp_path) / "train" / "wren"
    for name in ("7.HEIC", "8.hif"):
        (folder / name).write_bytes(encode((9, 9, 9), "HEIF"))
    with pytest.raises(UserError) as caught:
        ingest_birds(tmp_path)
    assert str(caught.value) == (
        "params.yaml: tasks.birds.path: birds: 2 images in HEIC, but pillow-heif, which reads it, is not installed: "
        "train/wren/7.HEIC, train/wren/8.hif. Install it (make setup EXTRAS=heic, "
        "or pip install 'gift-pipeline[heic]'), or convert the images."
    )
    info = ingest_birds(tmp_path, on_bad_image="skip")
    (name, reason), *_ = info.skipped
    assert name == "train/wren/7.HEIC"
    assert reason.startswith("HEIC is read by pillow-heif, which is not installed: make setup EXTRAS=heic, or pip ")
    assert info.counts["train"] == 6
    assert "2 images in HEIC, but pillow-heif" in info.notes[0]


def noise(kind: str, size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    Image.effect_noise(size, 80).convert("RGB").save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_cut_file_is_no_image(kind: str) -> None:
    data = noise(kind)
    plain_image(data, "png", shorter_side=None)
    with pytest.raises(BadImageError):
        plain_image(data[: len(data) // 2], "png", shorter_side=None)


@pytest.mark.parametrize(("size", "shrunk"), [((80, 60), (40, 30)), ((60, 90), (30, 45)), ((100, 31), (97, 30))])
def test_a_larger_shorter_side_is_shrunk(size: tuple[int, int], shrunk: tuple[int, int]) -> None:
    data, extension = plain_image(noise("JPEG", size), "png", shorter_side=30)
    assert (extension, Image.open(io.BytesIO(data)).size) == ("png", shrunk)


@pytest.mark.parametrize(("size", "shorter_side"), [((30, 80), 30), ((20, 10), 30), ((80, 80), None)])
def test_an_upright_jpeg_that_is_small_enough_keeps_its_bytes(size: tuple[int, int], shorter_side: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    data = noise("JPEG", size, exif=exif)
    assert plain_image(data, "png", shorter_side=shorter_side) == (data, "jpg")


def test_shrinking_averages_pixels() -> None:
    """A chessboard of single pixels becomes gray, not a pattern. torchvision's antialiased resize says the same."""
    import torch
    from torchvision.transforms.v2 import functional

    board_HW = np.indices((96, 96)).sum(0) % 2 * 255
    image_HWC = np.repeat(board_HW[..., None], 3, 2).astype(np.uint8)
    image_HWC[:48] = np.random.default_rng(0).integers(0, 256, (48, 96, 3))
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, "PNG")
    found_HWC = pixels(plain_image(buffer.getvalue(), "png", shorter_side=24)[0]).astype(int)
    tensor = functional.resize(
        torch.from_numpy(image_HWC).permute(2, 0, 1), [24], functional.InterpolationMode.BICUBIC, antialias=True
    )
    assert np.abs(found_HWC - tensor.permute(1, 2, 0).numpy().astype(int)).max() <= 2
    assert np.abs(found_HWC[16:] - 128).max() < 40


def test_images_are_decoded_by_several_threads_and_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "DECODERS", 3)
    together, read = threading.Barrier(3), []

    def items() -> Iterator[int]:
        for number in range(31):
            read.append(number)
            yield number

    def decode(number: int) -> int:
        if number < 3:
            together.wait(10)  # which one thread alone cannot pass
        return number if number < 30 else 1 // 0

    results = in_order(decode, items())
    assert next(results) == 0
    assert len(read) == 7  # a few ahead, not all
    assert [next(results) for _ in range(29)] == list(range(1, 30))
    with pytest.raises(ZeroDivisionError):  # where its image would come
        next(results)
