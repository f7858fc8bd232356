"""Patterns, backgrounds and distortions: what makes the pictures of one task look unlike those of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from gift_core.mini.rendering import COLORS, SIZE, Pixels, gradient, shade, to_image


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
