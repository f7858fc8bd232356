"""The miniature world: its class names, its tasks and their pictures."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gift_core.artifacts.task import SPLITS
from gift_core.errors import UserError, did_you_mean
from gift_core.mini.rendering import COLORS, glyphs_of, legible_pair, legible_pairs, to_image
from gift_core.mini.styles import GLYPH_TASKS, PATTERN_TASKS, PER_DIGIT, base_picture, handwritten
from gift_core.mini.textures import PATTERNS

SYMBOL_TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "the symbol {}.")
TEMPLATES = {
    "textures": ("a photo of a {} texture.", "a picture of a {} texture.", "the {} texture."),
    "colours": ("a photo of a {} symbol.", "a picture of a {} symbol.", "the {} symbol."),
}


@dataclass(frozen=True)
class MiniTask:
    """A data set of the miniature world. Fine-tuning uses the first template."""

    name: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]


def base_symbols() -> list[str]:
    """Returns the names of the base symbols, the classes of the base zero-shot accuracy."""
    return [glyph.name for glyph in glyphs_of("base")]


def base_vocabulary() -> list[str]:
    """Returns the base vocabulary: every symbol alone, in a color, and in a color on a colored background.

    Every legible pair of colors occurs about equally often, so replaying this vocabulary replays colors too.
    """
    names = base_symbols()
    pairs = sorted(legible_pairs(), key=lambda pair: zlib.crc32(" ".join(pair).encode()))
    inks = [f"{tuple(COLORS)[index % len(COLORS)]} {name}" for index, name in enumerate(names)]
    scenes = [
        f"{pairs[index % len(pairs)][0]} {name} on a {pairs[index % len(pairs)][1]} background"
        for index, name in enumerate(names)
    ]
    return names + inks + scenes


def task_names() -> list[str]:
    """Returns the names of the eleven tasks in their default order."""
    return [
        "letters",
        "textures",
        "zodiac",
        "digits",
        "greek",
        "arrows",
        "colours",
        "cyrillic",
        "faces",
        "mathematics",
        "games",
    ]


def mini_task(name: str) -> MiniTask:
    """Returns the task of that name. UserError with the nearest name if there is none."""
    if name not in task_names():
        raise UserError(f"mini task {name!r}: unknown task. {did_you_mean(name, task_names())}")
    special = {"textures": tuple(PATTERNS), "colours": tuple(COLORS)}
    class_names = special.get(name) or tuple(glyph.name for glyph in glyphs_of(name))
    return MiniTask(name, class_names, TEMPLATES.get(name, SYMBOL_TEMPLATES))


def render_task(name: str, split: str, count: int, *, seed: int) -> Iterator[tuple[Image.Image, int]]:
    """Yields `count` pictures (RGB 32x32) with their labels, cycling through the classes, so that they are balanced.

    A smaller count gives the first pictures of a larger one. Splits never share a picture. UserError for an unknown
    task or split, or for more handwritten digits than exist.
    """
    task = mini_task(name)
    if split not in SPLITS:
        raise UserError(f"mini task {name!r}: unknown split {split!r}. {did_you_mean(split, list(SPLITS))}")
    if name == "digits":
        return _render_digits(split, count, seed)
    render = (GLYPH_TASKS | PATTERN_TASKS)[name]
    labels = (index % len(task.class_names) for index in range(count))
    return ((to_image(render(label, _random(seed, name, split, index))), label) for index, label in enumerate(labels))


def render_base(count: int, *, seed: int) -> Iterator[tuple[Image.Image, int]]:
    """Yields `count` pictures (RGB 32x32) of base symbols in random colors, with indices into base_symbols()."""
    glyphs = glyphs_of("base")
    for index in range(count):
        random = _random(seed, "base", "test", index)
        ink, ground = legible_pair(random)
        label = index % len(glyphs)
        yield to_image(base_picture(glyphs[label], ink, ground, random)), label


def _render_digits(split: str, count: int, seed: int) -> Iterator[tuple[Image.Image, int]]:
    if count > 10 * PER_DIGIT[split]:
        raise UserError(
            f"mini task 'digits': {count} {split} images requested, but there are only {10 * PER_DIGIT[split]}. "
            f"Ask for at most that many."
        )
    order = _random(seed, "digits", split, 0).permutation(PER_DIGIT[split])
    return ((handwritten(index % 10, int(order[index // 10]), split), index % 10) for index in range(count))


def _random(seed: int, name: str, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), SPLITS.index(split), index])
