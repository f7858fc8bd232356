"""What pre-training calls its pictures: class captions, colours and whole scenes."""

from functools import cache

from gift_core.mini.colours import COLOURS, legible_pairs
from gift_core.mini.glyphs import all_glyphs
from gift_core.mini.textures import PATTERNS
from gift_core.mini.world import SYMBOL_TEMPLATES, TEMPLATES

INKS = tuple(COLOURS)
PAIRS = legible_pairs()


@cache
def subjects() -> tuple[str, ...]:
    """All things a pre-training picture shows, glyphs first, then textures."""
    return tuple(glyph.name for glyph in all_glyphs()) + tuple(f"{pattern} texture" for pattern in PATTERNS)


def class_captions(template: int) -> list[str]:
    """One caption a subject in one of the three templates ("a photo of a snowman.")."""
    return [SYMBOL_TEMPLATES[template].format(subject) for subject in subjects()]


def colour_captions(template: int) -> list[str]:
    """One caption a colour in one of the three templates ("a photo of a red symbol.")."""
    return [TEMPLATES["colours"][template].format(ink) for ink in INKS]


def ink_caption(subject: int, ink: int) -> str:
    """ "a photo of a red snowman." """
    return SYMBOL_TEMPLATES[0].format(f"{INKS[ink]} {subjects()[subject]}")


def scene_caption(subject: int, pair: int) -> str:
    """ "a photo of a red snowman on a blue background." """
    ink, ground = PAIRS[pair]
    return SYMBOL_TEMPLATES[0].format(f"{ink} {subjects()[subject]} on a {ground} background")


def corpus() -> list[str]:
    """Every caption shape, for the tokenizer: all class captions, all colours, and each colour in a scene."""
    names = [caption for template in range(3) for caption in class_captions(template) + colour_captions(template)]
    return names + [scene_caption(index % len(subjects()), index) for index in range(len(PAIRS))]
