"""The characters of the miniature world, their names, and the fonts that draw them."""

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
"""The faces of the base vocabulary and of pre-training; the tasks prefer others."""


@dataclass(frozen=True)
class Glyph:
    """One character with the name that captions use; `group` is "base" or the task that owns it."""

    group: str
    character: str
    name: str


@cache
def all_glyphs() -> tuple[Glyph, ...]:
    """Every glyph of the world, in the order of symbols.csv."""
    with (Path(__file__).parent / "symbols.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Glyph(row["group"], chr(int(row["codepoint"], 16)), row["name"]) for row in csv.DictReader(file))


@cache
def glyphs_of(group: str) -> tuple[Glyph, ...]:
    """The glyphs of one group, "base" or a task's name; empty for tasks that are not made of characters."""
    return tuple(glyph for glyph in all_glyphs() if glyph.group == group)


@cache
def font_path(face: str) -> Path:
    """Where matplotlib keeps the TrueType file of a face such as "DejaVuSans-Bold". Does not import matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the miniature world draws with the fonts of matplotlib, which is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{face}.ttf"


@cache
def characters_of(face: str) -> frozenset[str]:
    """The characters a face has a glyph for, from its character map."""
    from fontTools.ttLib import TTFont

    with TTFont(font_path(face), lazy=True) as font:
        return frozenset(map(chr, font.getBestCmap()))


@cache
def faces_for(character: str, preferred: tuple[str, ...] = UPRIGHT_FACES) -> tuple[str, ...]:
    """The preferred faces that have the character, or DejaVuSans, which has every character of the world."""
    return tuple(face for face in preferred if character in characters_of(face)) or ("DejaVuSans",)
