"""The twelve colours that captions name, and which pairs of them are legible together."""

from functools import cache

import numpy as np

from gift_core.mini.render import SIZE, Pixels

COLOURS: dict[str, tuple[int, int, int]] = {
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
LEGIBLE_DISTANCE = 140.0
"""Least Euclidean distance in RGB between a symbol's colour and its background's."""


@cache
def legible_pairs() -> tuple[tuple[str, str], ...]:
    """All (ink, ground) names of COLOURS that are far enough apart to be read."""
    return tuple(
        (ink, ground)
        for ink, ink_rgb in COLOURS.items()
        for ground, ground_rgb in COLOURS.items()
        if float(np.linalg.norm(np.subtract(ink_rgb, ground_rgb))) >= LEGIBLE_DISTANCE
    )


def legible_pair(random: np.random.Generator) -> tuple[str, str]:
    """One (ink, ground) pair, uniform over the legible ones."""
    pairs = legible_pairs()
    return pairs[int(random.integers(len(pairs)))]


def shade(colour: str, random: np.random.Generator, *, spread: float = 16.0) -> Pixels:
    """An RGB triple near the named colour, each channel off by up to `spread` of 255."""
    return np.asarray(np.add(COLOURS[colour], random.uniform(-spread, spread, 3)), dtype=np.float32)


def gradient(start: Pixels, end: Pixels, random: np.random.Generator) -> Pixels:
    """A picture [32, 32, 3] that runs from one colour to the other in a random direction."""
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) - 0.5
    share = np.clip((rows * np.sin(angle) + columns * np.cos(angle)) / np.sqrt(2) + 0.5, 0, 1)[..., None]
    return np.asarray(share * end + (1 - share) * start, dtype=np.float32)
