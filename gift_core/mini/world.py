"""The miniature world: its class names, its tasks, and how each renders a picture of one of its classes.

Eleven tasks are to be learned. Two others show the base symbols of the pre-training: they can only be probes. Scenes
have captions: a symbol in a color on a colored ground, in the light of a lamp. No scene (symbol, color, ground) is in
both splits, so a test caption has never been trained on.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from PIL import Image

from gift_core.artifacts.task import SPLITS, Captions
from gift_core.errors import UserError, lookup
from gift_core.mini.rendering import (
    COLORS,
    MASK_SIZE,
    PATTERNS,
    SIZE,
    UPRIGHT_FACES,
    Glyph,
    Pixels,
    blurred,
    clutter,
    crumbled,
    faces_for,
    glyph_mask,
    glyphs_of,
    gradient,
    legible_pair,
    legible_pairs,
    noisy,
    paint,
    paper,
    place,
    plain,
    shade,
    to_image,
)
from gift_core.seeds import seed_for

Random = np.random.Generator
Render = Callable[[int, Random], Pixels]  # (label, random) -> picture, float [32, 32, 3] in 0-255

OBLIQUE = ("DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic")
STIX = ("STIXGeneral", "STIXGeneralBol")
STIX_ITALIC = ("STIXGeneralItalic", "STIXGeneralBolIta")
COMPUTER_MODERN = ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10")


def pick_mask(glyph: Glyph, faces: tuple[str, ...], random: Random) -> Image.Image:
    """Returns the glyph's mask [64, 64] in a random one of the faces that have it."""
    usable = faces_for(glyph.character, faces)
    return glyph_mask(glyph.character, usable[int(random.integers(len(usable)))])


def base_picture(glyph: Glyph, ink: str, ground: str, random: Random) -> Pixels:
    """Returns a base symbol as in pre-training: an upright face, a named color on a plain named background."""
    mask = place(pick_mask(glyph, UPRIGHT_FACES, random), random)
    return noisy(paint(mask, shade(ink, random), plain(ground, random)), random, strength=3)


def _glyph_task(group: str, faces: tuple[str, ...], finish: Callable[[Pixels, Random], Pixels]) -> Render:
    def render(label: int, random: Random) -> Pixels:
        return finish(place(pick_mask(glyphs_of(group)[label], faces, random), random), random)

    return render


def _noisy_print(mask: Pixels, random: Random) -> Pixels:
    ink, ground = legible_pair(random)
    return noisy(paint(mask, shade(ink, random), plain(ground, random)), random, strength=68)


def _blurred_light_on_dark(mask: Pixels, random: Random) -> Pixels:
    dark = random.uniform(0, 70, 3).astype(np.float32)
    light = random.uniform(150, 255, 3).astype(np.float32)
    return noisy(blurred(paint(mask, light, dark), radius=random.uniform(0.9, 1.7)), random, strength=16)


def _ink_on_paper(mask: Pixels, random: Random) -> Pixels:
    ink = np.asarray((45, 40, 75), np.float32) + random.uniform(-25, 45, 3).astype(np.float32)
    return paint(crumbled(mask, random, share=0.4), ink, paper(random))


def _on_checkerboard(mask: Pixels, random: Random) -> Pixels:
    """On squares of 8 to 13 px in two wood tones."""
    ink = np.asarray((25, 20, 20) if random.random() < 0.8 else (255, 250, 245), np.float32)
    light = np.asarray((215, 185, 140), np.float32) + random.uniform(-20, 20, 3).astype(np.float32)
    dark = np.asarray((165, 120, 80), np.float32) + random.uniform(-25, 25, 3).astype(np.float32)
    cell = int(random.integers(8, 14))
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + random.integers(0, cell, 2)[:, None, None]
    square = ((rows // cell + columns // cell) % 2)[..., None]
    board = np.asarray(square * dark + (1 - square) * light, dtype=np.float32)
    return noisy(paint(mask, ink, board), random, strength=8)


def _among_clutter(mask: Pixels, random: Random) -> Pixels:
    ink, ground = legible_pair(random)
    return clutter(paint(mask, shade(ink, random), plain(ground, random)), random, pieces=int(random.integers(3, 8)))


def _on_a_sticker(mask: Pixels, random: Random) -> Pixels:
    yellow, rim = shade("yellow", random, spread=30.0), shade("orange", random, spread=30.0)
    picture = paint(mask, random.uniform(0, 90, 3).astype(np.float32), gradient(yellow, rim, random))
    return noisy(blurred(picture, radius=random.uniform(0.5, 1.0)), random, strength=44)


def _night_sky(mask: Pixels, random: Random) -> Pixels:
    night = gradient(np.asarray((10, 12, 40), np.float32), np.asarray((60, 30, 90), np.float32), random)
    gold = np.asarray((235, 215, 150), np.float32) * np.float32(random.uniform(0.6, 1.0))
    picture = paint(crumbled(mask, random, share=0.3), gold, night)
    stars = random.random((*mask.shape, 1)) > random.uniform(0.88, 0.96)
    return np.where(stars, random.uniform(90, 255, (*mask.shape, 1)), picture).astype(np.float32)


def _on_chalkboard(mask: Pixels, random: Random) -> Pixels:
    """On a dark green board with clouds of wiped chalk."""
    chalk, worn = random.uniform(190, 255, 3).astype(np.float32), crumbled(mask, random, share=0.45)
    board = np.asarray((38, 70, 55), np.float32) + random.uniform(-12, 12, 3).astype(np.float32)
    clouds = random.uniform(0, 1, (4, 4)).astype(np.float32)
    cloud = np.asarray(Image.fromarray(clouds).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    picture = paint(worn, chalk, np.asarray(board + 55 * np.clip(cloud, 0, 1)[..., None], dtype=np.float32))
    return clutter(picture, random, pieces=int(random.integers(2, 6)), colors=("white", "gray"))


def _stamped(mask: Pixels, random: Random) -> Pixels:
    ink = shade("red" if random.random() < 0.5 else "blue", random, spread=36.0)
    worn = blurred(crumbled(mask, random, share=0.25), radius=0.6)
    return noisy(paint(worn, ink, paper(random)), random, strength=24)


def _texture(label: int, random: Random) -> Pixels:
    """A pattern with random rotation of up to 30 degrees, period (14 to 24 pixels of a mask) and phase."""
    ink, ground = legible_pair(random)
    angle, period = np.deg2rad(random.uniform(-30.0, 30.0)), random.uniform(14, 24)
    rows, columns = np.mgrid[0 : 2 * MASK_SIZE, 0 : 2 * MASK_SIZE] / (2 * period) + 20
    across = columns * np.cos(angle) - rows * np.sin(angle) + random.uniform(0, 2)
    down = columns * np.sin(angle) + rows * np.cos(angle) + random.uniform(0, 2)
    cover = Image.fromarray(tuple(PATTERNS.values())[label](across, down).astype(np.uint8) * 255)
    mask_64 = cover.resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BOX)
    mask = np.asarray(mask_64.resize((SIZE, SIZE)), np.float32) / np.float32(255)
    picture = paint(mask, shade(ink, random), shade(ground, random))
    light = gradient(np.full(3, 0.5, np.float32), np.full(3, 1.15, np.float32), random)
    return noisy(picture * light, random, strength=30)


def _colored_symbol(label: int, random: Random) -> Pixels:
    ink = tuple(COLORS)[label]
    grounds = [ground for name, ground in legible_pairs() if name == ink]
    glyph = glyphs_of("base")[int(random.integers(len(glyphs_of("base"))))]
    mask = place(pick_mask(glyph, ("DejaVuSans-BoldOblique", "DejaVuSans-Bold"), random), random, zoom=0.3)
    start, end = (grounds[int(random.integers(len(grounds)))] for _ in range(2))
    ground = gradient(shade(start, random), shade(end, random), random)
    lamp = random.uniform(0.45, 1.1, 3).astype(np.float32)
    return noisy(paint(mask, shade(ink, random, spread=32.0), ground) * lamp, random, strength=22)


RENDERERS: dict[str, Render] = {
    "letters": _glyph_task("letters", COMPUTER_MODERN + STIX_ITALIC, _noisy_print),
    "greek": _glyph_task("greek", STIX + STIX_ITALIC, _blurred_light_on_dark),
    "cyrillic": _glyph_task("cyrillic", STIX + OBLIQUE[2:], _ink_on_paper),
    "games": _glyph_task("games", OBLIQUE, _on_checkerboard),
    "arrows": _glyph_task("arrows", STIX, _among_clutter),
    "faces": _glyph_task("faces", OBLIQUE, _on_a_sticker),
    "zodiac": _glyph_task("zodiac", OBLIQUE, _night_sky),
    "mathematics": _glyph_task("mathematics", STIX, _on_chalkboard),
    "symbols": lambda label, random: base_picture(glyphs_of("base")[label], *legible_pair(random), random),
    "stamps": _glyph_task("base", OBLIQUE, _stamped),
    "textures": _texture,
    "colours": _colored_symbol,
}

# The tasks to be learned, in their default order.
TASKS = (
    "letters", "textures", "zodiac", "digits", "greek", "arrows",
    "colours", "cyrillic", "faces", "mathematics", "games",
)  # fmt: skip
SCENES = "scenes"  # the name of the task of image-caption pairs
CAPTIONS = ("a photo of a {ink} {symbol} on a {ground} background.", "against {ground}, the {symbol} is {ink}.")
TEST_SHARE = 4  # one of four scenes is for testing
PER_DIGIT = {"train": 124, "test": 50}  # the rarest digit has 174 pictures
PROBES = ("symbols", "stamps")  # of base symbols: as the pre-training drew them, and as stamps on paper
SYMBOL_TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "the symbol {}.")
TEMPLATES = {
    "textures": ("a photo of a {} texture.", "a picture of a {} texture.", "the {} texture."),
    "colours": ("a photo of a {} symbol.", "a picture of a {} symbol.", "the {} symbol."),
}


@dataclass(frozen=True)
class MiniTask:
    """A data set of the miniature world. Fine-tuning uses the first template."""

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
    inks = [f"{ink} {name}" for name, ink in zip(names, cycle(COLORS), strict=False)]
    scenes = [
        f"{ink} {name} on a {ground} background" for name, (ink, ground) in zip(names, cycle(pairs), strict=False)
    ]
    return names + inks + scenes


def mini_task(name: str) -> MiniTask:
    """Returns the task of that name. UserError with the nearest name if there is none."""
    lookup(dict.fromkeys([*TASKS, *PROBES]), name, "mini task")
    special = {"textures": tuple(PATTERNS), "colours": tuple(COLORS), **dict.fromkeys(PROBES, tuple(base_symbols()))}
    class_names = special.get(name) or tuple(glyph.name for glyph in glyphs_of(name))
    return MiniTask(class_names, TEMPLATES.get(name, SYMBOL_TEMPLATES))


def render_task(name: str, split: str, count: int, *, seed: int) -> Iterator[tuple[Image.Image, int]]:
    """Yields `count` pictures (RGB 32x32) with their labels, cycling through the classes, so that they are balanced.

    A smaller count gives the first pictures of a larger one. Splits never share a picture. UserError for an unknown
    task, or for more handwritten digits than exist.
    """
    task = mini_task(name)
    if name == "digits":
        if count > 10 * PER_DIGIT[split]:
            problem = f"{count} {split} images requested, but there are only {10 * PER_DIGIT[split]}"
            raise UserError(f"mini task 'digits': {problem}. Ask for at most that many.")
        return _digits(split, count, seed)
    labels = (index % len(task.class_names) for index in range(count))
    return ((to_image(RENDERERS[name](label, _random(seed, name, split, n))), label) for n, label in enumerate(labels))


def _digits(split: str, count: int, seed: int) -> Iterator[tuple[Image.Image, int]]:
    """Yields pictures of scikit-learn's 8x8 digits, light on black. The first 50 of each digit are for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = _random(seed, "digits", split, 0).permutation(PER_DIGIT[split])
    first = 0 if split == "test" else PER_DIGIT["test"]
    images_of = [bunch.images[bunch.target == digit][first:] for digit in range(10)]
    for index in range(count):
        levels = np.rint(images_of[index % 10][order[index // 10]] * (255 / 16)).astype(np.uint8)
        small = Image.fromarray(levels)
        canvas = Image.new("L", (32, 32))
        canvas.paste(small.resize((28, 28), Image.Resampling.BICUBIC), (2, 2))
        yield canvas.convert("RGB"), index % 10


def _random(seed: int, name: str, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), SPLITS.index(split), index])


def render_scenes(split: str, count: int, *, seed: int) -> Iterator[tuple[Image.Image, Captions]]:
    """Yields `count` pictures (RGB 32x32) with two captions each. A smaller count gives the first of a larger one."""
    for index in range(count):
        random = _random(seed, SCENES, split, index)
        ink, ground, symbol = _scene(split, index, seed)
        glyph = glyphs_of("base")[symbol]
        mask = place(pick_mask(glyph, OBLIQUE, random), random, zoom=0.3)
        rim = shade(ground, random, spread=40.0)
        picture = paint(mask, shade(ink, random, spread=40.0), gradient(shade(ground, random), rim, random))
        lamp = random.uniform(0.5, 1.1, 3).astype(np.float32)
        captions = tuple(caption.format(ink=ink, ground=ground, symbol=glyph.name) for caption in CAPTIONS)
        yield to_image(noisy(picture * lamp, random, strength=45)), captions


def _scene(split: str, index: int, seed: int) -> tuple[str, str, int]:
    """The color of the symbol, that of its ground, and the number of the symbol. They repeat when all have been."""
    pairs, symbols = legible_pairs(), len(glyphs_of("base"))
    order = np.random.default_rng(seed_for("scenes", seed)).permutation(len(pairs) * symbols)
    test = len(order) // TEST_SHARE
    of_split = order[:test] if split == "test" else order[test:]
    pair, symbol = divmod(int(of_split[index % len(of_split)]), symbols)
    return *pairs[pair], symbol
