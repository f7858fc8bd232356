"""The characters of the miniature world (symbols.csv), and how one becomes a picture of 32 px.

A picture has a coverage mask, its position, its color and its background. Patterns, backgrounds and distortions make
the pictures of one task look unlike those of another.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

# The font faces of the base vocabulary and of pre-training. The tasks use others.
UPRIGHT_FACES = tuple(f"DejaVu{kind}{weight}" for kind in ("Sans", "SansMono", "Serif") for weight in ("", "-Bold"))


@dataclass(frozen=True)
class Glyph:
    """A character and its name in captions."""

    character: str
    name: str


@cache
def glyphs_of(group: str) -> tuple[Glyph, ...]:
    """Returns the glyphs of a group ("base" or a task's name) in the order of symbols.csv. Other tasks have none."""
    with (Path(__file__).parent / "symbols.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == group]
    return tuple(Glyph(chr(int(row["codepoint"], 16)), row["name"]) for row in rows)


@cache
def font_path(face: str) -> Path:
    """Returns the path of the font file that matplotlib ships for a face such as "DejaVuSans-Bold"."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{face}.ttf"


@cache
def characters_of(face: str) -> frozenset[str]:
    """Returns the characters that the face has a glyph for."""
    from fontTools.ttLib import TTFont

    with TTFont(font_path(face), lazy=True) as font:
        return frozenset(map(chr, font.getBestCmap()))


@cache
def faces_for(character: str, preferred: tuple[str, ...] = UPRIGHT_FACES) -> tuple[str, ...]:
    """Returns the preferred faces that have the character, or DejaVuSans, which has all characters of the world."""
    return tuple(face for face in preferred if character in characters_of(face)) or ("DejaVuSans",)


SIZE = 32  # the side of every picture in pixels
MASK_SIZE = 2 * SIZE  # that of a mask, so that downscaling averages 2x2 pixels
GLYPH_EXTENT = 46  # the longest side of an unscaled glyph in its mask, in mask pixels

Pixels = NDArray[np.float32]


@cache
def glyph_mask(character: str, face: str) -> Image.Image:
    """Returns the coverage of a character, uint8 [64, 64], centered, its longest side 46 px in every font."""
    canvas, center = Image.new("L", (4 * MASK_SIZE, 4 * MASK_SIZE)), (2 * MASK_SIZE, 2 * MASK_SIZE)
    font = ImageFont.truetype(str(font_path(face)), 96, layout_engine=ImageFont.Layout.BASIC)
    ImageDraw.Draw(canvas).text(center, character, font=font, fill=255, anchor="mm")
    glyph = canvas.crop(canvas.getbbox())
    scale = GLYPH_EXTENT / max(glyph.size)
    size = (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale)))
    mask = Image.new("L", (MASK_SIZE, MASK_SIZE))
    mask.paste(glyph.resize(size, Image.Resampling.LANCZOS), ((MASK_SIZE - size[0]) // 2, (MASK_SIZE - size[1]) // 2))
    return mask


def place(mask: Image.Image, random: np.random.Generator, *, zoom: float = 0.2) -> Pixels:
    """Returns the mask rotated by up to 12 degrees, scaled by 1 +- `zoom` and shifted: float [32, 32] in 0-1."""
    angle = np.deg2rad(random.uniform(-12.0, 12.0))
    scale = 1.0 / random.uniform(1 - zoom, 1 + zoom)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    center = MASK_SIZE / 2
    shift_x, shift_y = random.uniform(-5, 5, 2)
    offset_x = center - cos * (center + shift_x) - sin * (center + shift_y)
    offset_y = center + sin * (center + shift_x) - cos * (center + shift_y)
    matrix = (cos, sin, offset_x, -sin, cos, offset_y)
    placed = mask.transform(mask.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)
    small = np.asarray(placed.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float32)
    return np.asarray(small / 255, dtype=np.float32)


def paint(mask: Pixels, ink: Pixels, ground: Pixels) -> Pixels:
    """Returns ink over ground, float [32, 32, 3] in 0-255. Both are one color [3] or a picture [32, 32, 3]."""
    cover = mask[..., None]
    return np.asarray(cover * ink + (1 - cover) * ground, dtype=np.float32)


def to_image(picture: Pixels) -> Image.Image:
    """Returns the RGB image of a float picture [32, 32, 3] in 0-255. Values outside are clipped."""
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


COLORS: dict[str, tuple[int, int, int]] = {
    "red": (215, 30, 35),
    "orange": (245, 135, 25),
    "yellow": (245, 220, 50),
    "green": (40, 150, 60),
    "cyan": (60, 205, 215),
    "blue": (40, 70, 210),
    "purple": (130, 50, 165),
    "pink": (245, 145, 190),
    "brown": (120, 75, 40),
    "black": (20, 20, 22),
    "gray": (130, 130, 132),
    "white": (245, 245, 243),
}
LEGIBLE_DISTANCE = 140.0  # the least Euclidean distance in RGB between a symbol's color and its background's


@cache
def legible_pairs() -> tuple[tuple[str, str], ...]:
    """Returns all pairs (ink, ground) of color names that are far enough apart to be legible."""
    return tuple(
        (ink, ground)
        for ink, ink_rgb in COLORS.items()
        for ground, ground_rgb in COLORS.items()
        if float(np.linalg.norm(np.subtract(ink_rgb, ground_rgb))) >= LEGIBLE_DISTANCE
    )


def legible_pair(random: np.random.Generator) -> tuple[str, str]:
    """Returns the color names (ink, ground) of a random pair of legible_pairs."""
    pairs = legible_pairs()
    return pairs[int(random.integers(len(pairs)))]


def shade(color: str, random: np.random.Generator, *, spread: float = 16.0) -> Pixels:
    """Returns an RGB triple near the named color, each channel off by up to `spread` of 255."""
    return np.asarray(np.add(COLORS[color], random.uniform(-spread, spread, 3)), dtype=np.float32)


def gradient(start: Pixels, end: Pixels, random: np.random.Generator) -> Pixels:
    """Returns a picture [32, 32, 3] that changes from one color to the other in a random direction."""
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) - 0.5
    share = np.clip((rows * np.sin(angle) + columns * np.cos(angle)) / np.sqrt(2) + 0.5, 0, 1)[..., None]
    return np.asarray(share * end + (1 - share) * start, dtype=np.float32)


def _scales(across: Any, down: Any) -> Any:
    row = np.floor(down * 1.2)
    center = (across + 0.5 * (row % 2)) % 1 - 0.5
    return np.abs(np.sqrt(center**2 + ((down * 1.2) % 1) ** 2 * 0.45) - 0.45) < 0.12


def _crosses(across: Any, down: Any) -> Any:
    x, y = np.abs(across % 1 - 0.5), np.abs(down % 1 - 0.5)
    return ((x < 0.1) | (y < 0.1)) & (np.maximum(x, y) < 0.36)


def _checks(across: Any, down: Any) -> Any:
    return (np.floor(across) + np.floor(down)) % 2 == 0


# (across, down), both counted in periods -> where the pattern covers.
PATTERNS: dict[str, Callable[[Any, Any], Any]] = {
    "striped": lambda across, down: across % 1 < 0.5,
    "checkered": _checks,
    "dotted": lambda across, down: (across % 1 - 0.5) ** 2 + (down % 1 - 0.5) ** 2 < 0.09,
    "ringed": lambda across, down: np.abs(np.sqrt((across % 1.5 - 0.75) ** 2 + (down % 1.5 - 0.75) ** 2) - 0.5) < 0.13,
    "brick": lambda across, down: (
        ((across * 0.8 + 0.5 * (np.floor(down * 1.4) % 2)) % 1 > 0.14) & ((down * 1.4) % 1 > 0.2)
    ),
    "grid": lambda across, down: (across % 1 < 0.22) | (down % 1 < 0.22),
    "zigzag": lambda across, down: (down + np.abs(across % 1 - 0.5)) % 1 < 0.5,
    "wavy": lambda across, down: (down + 0.3 * np.sin(across * 3.5)) % 1 < 0.5,
    "scaly": _scales,
    "diamond": lambda across, down: np.abs(across % 1 - 0.5) + np.abs(down % 1 - 0.5) < 0.36,
    "crossed": _crosses,
    "woven": lambda across, down: np.where(_checks(across, down), (across * 3) % 1 < 0.6, (down * 3) % 1 < 0.6),
}


def plain(color: str, random: np.random.Generator) -> Pixels:
    """Returns a background [32, 32, 3] of the named color. One in three is a gradient to a similar shade."""
    start = shade(color, random)
    end = shade(color, random, spread=40.0) if random.random() < 0.33 else start
    return gradient(start, end, random)


def paper(random: np.random.Generator) -> Pixels:
    """Returns yellowed, stained, ruled paper [32, 32, 3]."""
    sheet = gradient(shade("white", random), np.asarray((215, 190, 140), np.float32), random)
    stains = random.normal(0, 1, (5, 5)).astype(np.float32)
    stain = np.asarray(Image.fromarray(stains).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    sheet = sheet - 14 * np.abs(stain)[..., None]
    first = int(random.integers(3, 9))
    sheet[first :: int(random.integers(6, 9))] -= np.asarray((70, 45, 15), np.float32)
    return np.asarray(sheet + random.normal(0, 7, (SIZE, SIZE, 1)), dtype=np.float32)


def clutter(
    picture: Pixels, random: np.random.Generator, *, pieces: int, colors: tuple[str, ...] = tuple(COLORS)
) -> Pixels:
    """Returns the picture with short strokes, dots and small frames scattered over it, in the given colors."""
    canvas = to_image(picture)
    draw = ImageDraw.Draw(canvas)
    for _ in range(pieces):
        x, y = random.integers(0, SIZE, 2).tolist()
        dx, dy = random.integers(-8, 9, 2).tolist()
        fill = tuple(int(value) for value in np.clip(shade(colors[int(random.integers(len(colors)))], random), 0, 255))
        kind = int(random.integers(3))
        if kind == 0:
            draw.line((x, y, x + dx, y + dy), fill=fill, width=1)
        elif kind == 1:
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=fill)
        else:
            draw.rectangle((x, y, x + abs(dx) // 2 + 1, y + abs(dy) // 2 + 1), outline=fill)
    return np.asarray(canvas, dtype=np.float32)


def noisy(picture: Pixels, random: np.random.Generator, *, strength: float) -> Pixels:
    """Returns the picture with Gaussian noise on every channel; `strength` is its standard deviation (of 255)."""
    return picture + random.normal(0, strength, picture.shape).astype(np.float32)


def blurred(picture: Pixels, *, radius: float) -> Pixels:
    """Returns the picture after a Gaussian blur, radius in pixels."""
    return np.asarray(to_image(picture).filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)


def crumbled(mask: Pixels, random: np.random.Generator, *, share: float) -> Pixels:
    """Returns the mask [32, 32] with random losses of coverage (`share` on average), like chalk or worn print."""
    return np.asarray(mask * (1 - random.uniform(0, 2 * share, mask.shape)), dtype=np.float32)
