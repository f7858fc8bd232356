"""Twelve repeating patterns as coverage masks: the texture task, and material for cluttered grounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from gift_core.mini.render import MASK_SIZE


def _stripes(across: Any, _down: Any) -> Any:
    return across % 1 < 0.5


def _checks(across: Any, down: Any) -> Any:
    return (np.floor(across) + np.floor(down)) % 2 == 0


def _dots(across: Any, down: Any) -> Any:
    return (across % 1 - 0.5) ** 2 + (down % 1 - 0.5) ** 2 < 0.09


def _rings(across: Any, down: Any) -> Any:
    radius = np.sqrt((across % 1.5 - 0.75) ** 2 + (down % 1.5 - 0.75) ** 2)
    return np.abs(radius - 0.5) < 0.13


def _bricks(across: Any, down: Any) -> Any:
    row = np.floor(down * 1.4)
    return ((across * 0.8 + 0.5 * (row % 2)) % 1 > 0.14) & ((down * 1.4) % 1 > 0.2)


def _grid(across: Any, down: Any) -> Any:
    return (across % 1 < 0.22) | (down % 1 < 0.22)


def _zigzag(across: Any, down: Any) -> Any:
    return (down + np.abs(across % 1 - 0.5)) % 1 < 0.5


def _waves(across: Any, down: Any) -> Any:
    return (down + 0.3 * np.sin(across * 3.5)) % 1 < 0.5


def _scales(across: Any, down: Any) -> Any:
    row = np.floor(down * 1.2)
    centre = (across + 0.5 * (row % 2)) % 1 - 0.5
    return np.abs(np.sqrt(centre**2 + ((down * 1.2) % 1) ** 2 * 0.45) - 0.45) < 0.12


def _diamonds(across: Any, down: Any) -> Any:
    return np.abs(across % 1 - 0.5) + np.abs(down % 1 - 0.5) < 0.36


def _crosses(across: Any, down: Any) -> Any:
    x, y = np.abs(across % 1 - 0.5), np.abs(down % 1 - 0.5)
    return ((x < 0.1) | (y < 0.1)) & (np.maximum(x, y) < 0.36)


def _basket(across: Any, down: Any) -> Any:
    upright = (np.floor(across) + np.floor(down)) % 2 == 0
    return np.where(upright, (across * 3) % 1 < 0.6, (down * 3) % 1 < 0.6)


PATTERNS: dict[str, Callable[[Any, Any], Any]] = {
    "striped": _stripes,
    "checkered": _checks,
    "dotted": _dots,
    "ringed": _rings,
    "brick": _bricks,
    "grid": _grid,
    "zigzag": _zigzag,
    "wavy": _waves,
    "scaly": _scales,
    "diamond": _diamonds,
    "crossed": _crosses,
    "woven": _basket,
}


def texture_mask(pattern: str, random: np.random.Generator, *, turn: float = 20.0) -> Image.Image:
    """Coverage of a pattern, uint8 [64, 64], with a random period (14-24 mask pixels), phase and turn in degrees."""
    angle = np.deg2rad(random.uniform(-turn, turn))
    period = random.uniform(14, 24)
    rows, columns = np.mgrid[0 : 2 * MASK_SIZE, 0 : 2 * MASK_SIZE] / (2 * period) + 20
    across = columns * np.cos(angle) - rows * np.sin(angle) + random.uniform(0, 2)
    down = columns * np.sin(angle) + rows * np.cos(angle) + random.uniform(0, 2)
    cover = PATTERNS[pattern](across, down).astype(np.uint8) * 255
    return Image.fromarray(cover).resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BOX)
