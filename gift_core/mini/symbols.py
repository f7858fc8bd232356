"""The characters of the miniature world (symbols.csv), their names, and the fonts they are rendered with."""

import csv
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

UPRIGHT_FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
)
"""The font faces of the base vocabulary and of pre-training. The tasks use others."""


@dataclass(frozen=True)
class Glyph:
    """A character and its name in captions. `group` is "base" or the task that the character belongs to."""

    group: str
    character: str
    name: str


@cache
def all_glyphs() -> tuple[Glyph, ...]:
    """Returns every glyph in the order of symbols.csv."""
    with (Path(__file__).parent / "symbols.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Glyph(row["group"], chr(int(row["codepoint"], 16)), row["name"]) for row in csv.DictReader(file))


@cache
def glyphs_of(group: str) -> tuple[Glyph, ...]:
    """Returns the glyphs of a group: "base" or a task's name. Empty for tasks that do not show characters."""
    return tuple(glyph for glyph in all_glyphs() if glyph.group == group)


@cache
def font_path(face: str) -> Path:
    """Returns the path of the font file that matplotlib ships for a face such as "DejaVuSans-Bold"."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the miniature world needs matplotlib's fonts. Run: pip install matplotlib")
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
