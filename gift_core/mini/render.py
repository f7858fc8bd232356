"""From a character to a 32 px picture: a coverage mask, its place, its ink and its ground."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gift_core.mini.glyphs import font_path

SIZE = 32
"""Side of every picture of the world, in pixels."""
MASK_SIZE = 2 * SIZE
"""Side of the masks that are placed, twice the picture's, so that the last step averages 2x2 pixels."""
GLYPH_EXTENT = 46
"""Longest side of an unscaled glyph inside its mask, in mask pixels."""

Pixels = NDArray[np.float32]


@cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path(face)), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def glyph_mask(character: str, face: str) -> Image.Image:
    """Coverage of a character, uint8 [64, 64], centred, its longest side 46 px whatever the font's own size."""
    drawn = Image.new("L", (4 * MASK_SIZE, 4 * MASK_SIZE))
    center = (2 * MASK_SIZE, 2 * MASK_SIZE)
    ImageDraw.Draw(drawn).text(center, character, font=_font(face, 96), fill=255, anchor="mm")
    box = drawn.getbbox()
    if box is None:
        raise ValueError(f"{face} draws nothing for U+{ord(character):04X}")
    glyph = drawn.crop(box)
    scale = GLYPH_EXTENT / max(glyph.size)
    size = (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale)))
    mask = Image.new("L", (MASK_SIZE, MASK_SIZE))
    mask.paste(glyph.resize(size, Image.Resampling.LANCZOS), ((MASK_SIZE - size[0]) // 2, (MASK_SIZE - size[1]) // 2))
    return mask


def place(mask: Image.Image, random: np.random.Generator, *, turn: float = 12.0, zoom: float = 0.2) -> Pixels:
    """The mask turned by up to `turn` degrees, scaled by up to 1 +- `zoom`, shifted a little: float [32, 32] in 0-1."""
    angle = np.deg2rad(random.uniform(-turn, turn))
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
    """Ink over ground: float [32, 32, 3] in 0-255; ink and ground are one colour [3] or a picture [32, 32, 3]."""
    cover = mask[..., None]
    return np.asarray(cover * ink + (1 - cover) * ground, dtype=np.float32)


def to_image(picture: Pixels) -> Image.Image:
    """An RGB image of a float picture [32, 32, 3] in 0-255; values outside are clipped."""
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
