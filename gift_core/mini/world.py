"""The miniature world as the rest of the project sees it: names, tasks and their pictures."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gift_core.errors import UserError, did_you_mean
from gift_core.mini.colours import COLOURS, legible_pair, legible_pairs
from gift_core.mini.glyphs import glyphs_of
from gift_core.mini.handwriting import PER_DIGIT, handwritten
from gift_core.mini.render import to_image
from gift_core.mini.tasks import GLYPH_TASKS, PATTERN_TASKS, base_picture
from gift_core.mini.textures import PATTERNS

SYMBOL_TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "the symbol {}.")
TEMPLATES = {
    "textures": ("a photo of a {} texture.", "a picture of a {} texture.", "the {} texture."),
    "colours": ("a photo of a {} symbol.", "a picture of a {} symbol.", "the {} symbol."),
}
SPLITS = ("train", "test")


@dataclass(frozen=True)
class MiniTask:
    """One data set of the world. The first template is the one fine-tuning uses."""

    name: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]


def base_symbols() -> list[str]:
    """The names of the base symbols, the classes that base zero-shot accuracy is measured on."""
    return [glyph.name for glyph in glyphs_of("base")]


def base_vocabulary() -> list[str]:
    """The names for base prompts: each symbol alone, in a colour, and in a colour on a coloured background.

    Every legible pair of colours comes up about equally often: what replays this vocabulary replays colours too.
    """
    names = base_symbols()
    pairs = sorted(legible_pairs(), key=lambda pair: zlib.crc32(" ".join(pair).encode()))
    inks = [f"{tuple(COLOURS)[index % len(COLOURS)]} {name}" for index, name in enumerate(names)]
    scenes = [
        f"{pairs[index % len(pairs)][0]} {name} on a {pairs[index % len(pairs)][1]} background"
        for index, name in enumerate(names)
    ]
    return names + inks + scenes


def task_names() -> list[str]:
    """The eleven tasks in their default order."""
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
    """The task of that name; UserError with the nearest name if there is none."""
    if name not in task_names():
        raise UserError(f"mini task {name!r}: unknown task. {did_you_mean(name, task_names())}")
    special = {"textures": tuple(PATTERNS), "colours": tuple(COLOURS)}
    class_names = special.get(name) or tuple(glyph.name for glyph in glyphs_of(name))
    return MiniTask(name, class_names, TEMPLATES.get(name, SYMBOL_TEMPLATES))


def render_task(name: str, split: str, count: int, *, seed: int) -> Iterator[tuple[Image.Image, int]]:
    """`count` pictures (RGB 32x32) with their labels, class after class in turn, so that classes are balanced.

    The first n of a longer draw are the draw of n. Splits never share a picture. UserError for an unknown task or
    split, or for more handwritten digits than exist.
    """
    task = mini_task(name)
    if split not in SPLITS:
        raise UserError(f"mini task {name!r}: unknown split {split!r}. {did_you_mean(split, list(SPLITS))}")
    if name == "digits":
        return _render_digits(split, count, seed)
    draw = (GLYPH_TASKS | PATTERN_TASKS)[name]
    labels = (index % len(task.class_names) for index in range(count))
    return ((to_image(draw(label, _random(seed, name, split, index))), label) for index, label in enumerate(labels))


def render_base(count: int, *, seed: int) -> Iterator[tuple[Image.Image, int]]:
    """`count` pictures (RGB 32x32) of the base symbols with indices into base_symbols(), in random legible colours."""
    glyphs = glyphs_of("base")
    for index in range(count):
        random = _random(seed, "base", "test", index)
        ink, ground = legible_pair(random)
        label = index % len(glyphs)
        yield to_image(base_picture(glyphs[label], ink, ground, random)), label


def _render_digits(split: str, count: int, seed: int) -> Iterator[tuple[Image.Image, int]]:
    if count > 10 * PER_DIGIT[split]:
        raise UserError(
            f"mini task 'digits': {count} {split} images asked for, but the handwriting has {10 * PER_DIGIT[split]}. "
            f"Ask for at most that many."
        )
    order = _random(seed, "digits", split, 0).permutation(PER_DIGIT[split])
    return ((handwritten(index % 10, int(order[index // 10]), split), index % 10) for index in range(count))


def _random(seed: int, name: str, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), SPLITS.index(split), index])
