"""What makes one task look unlike another: grounds to paint on, and damage done to a painted picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from gift_core.mini.colours import COLOURS, gradient, shade
from gift_core.mini.render import SIZE, Pixels, to_image


def plain(colour: str, random: np.random.Generator) -> Pixels:
    """A ground [32, 32, 3] of one named colour; every third runs softly to a neighbouring shade."""
    start = shade(colour, random)
    end = shade(colour, random, spread=40.0) if random.random() < 0.33 else start
    return gradient(start, end, random)


def paper(random: np.random.Generator) -> Pixels:
    """Yellowed, stained, ruled paper [32, 32, 3]."""
    sheet = gradient(shade("white", random), np.asarray((215, 190, 140), np.float32), random)
    stains = random.normal(0, 1, (5, 5)).astype(np.float32)
    stain = np.asarray(Image.fromarray(stains).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    sheet = sheet - 14 * np.abs(stain)[..., None]
    first = int(random.integers(3, 9))
    sheet[first :: int(random.integers(6, 9))] -= np.asarray((70, 45, 15), np.float32)
    return np.asarray(sheet + random.normal(0, 7, (SIZE, SIZE, 1)), dtype=np.float32)


def checkerboard(random: np.random.Generator) -> Pixels:
    """Two wood tones in squares of 8 to 13 px [32, 32, 3]."""
    light = np.asarray((215, 185, 140), np.float32) + random.uniform(-20, 20, 3).astype(np.float32)
    dark = np.asarray((165, 120, 80), np.float32) + random.uniform(-25, 25, 3).astype(np.float32)
    cell = int(random.integers(8, 14))
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + random.integers(0, cell, 2)[:, None, None]
    square = ((rows // cell + columns // cell) % 2)[..., None]
    return np.asarray(square * dark + (1 - square) * light, dtype=np.float32)


def chalkboard(random: np.random.Generator) -> Pixels:
    """A dark green board with wiped chalk clouds [32, 32, 3]."""
    board = np.asarray((38, 70, 55), np.float32) + random.uniform(-12, 12, 3).astype(np.float32)
    clouds = random.uniform(0, 1, (4, 4)).astype(np.float32)
    cloud = np.asarray(Image.fromarray(clouds).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return np.asarray(board + 55 * np.clip(cloud, 0, 1)[..., None], dtype=np.float32)


def clutter(
    picture: Pixels, random: np.random.Generator, *, pieces: int, colours: tuple[str, ...] = tuple(COLOURS)
) -> Pixels:
    """The picture with short strokes, dots and small frames scattered over it in some of those colours."""
    canvas = to_image(picture)
    draw = ImageDraw.Draw(canvas)
    for _ in range(pieces):
        x, y = random.integers(0, SIZE, 2).tolist()
        dx, dy = random.integers(-8, 9, 2).tolist()
        fill = tuple(
            int(value) for value in np.clip(shade(colours[int(random.integers(len(colours)))], random), 0, 255)
        )
        kind = int(random.integers(3))
        if kind == 0:
            draw.line((x, y, x + dx, y + dy), fill=fill, width=1)
        elif kind == 1:
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=fill)
        else:
            draw.rectangle((x, y, x + abs(dx) // 2 + 1, y + abs(dy) // 2 + 1), outline=fill)
    return np.asarray(canvas, dtype=np.float32)


def noisy(picture: Pixels, random: np.random.Generator, *, strength: float) -> Pixels:
    """The picture with Gaussian noise of that standard deviation (of 255) on every channel."""
    return picture + random.normal(0, strength, picture.shape).astype(np.float32)


def blurred(picture: Pixels, *, radius: float) -> Pixels:
    """The picture under a Gaussian blur, radius in pixels."""
    return np.asarray(to_image(picture).filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)


def crumbled(mask: Pixels, random: np.random.Generator, *, share: float) -> Pixels:
    """A mask [32, 32] with up to that share of its coverage broken away, as chalk or worn print."""
    return np.asarray(mask * (1 - random.uniform(0, 2 * share, mask.shape)), dtype=np.float32)
