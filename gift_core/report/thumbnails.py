"""Small images inside the page, and the contact sheets: synthetic pairs of each step by the source of their prompts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
from PIL import Image

from gift_core.artifacts.contract import broken
from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.shards import STAGE, describe_shards, missing_tars, read_pairs
from gift_core.layout import Layout

THUMBNAIL_SIDE = 96  # pixels
THUMBNAIL_BYTES = 12_000  # of an image that is shown as it is
JPEG_QUALITY = 80
T = TypeVar("T")
PAIRS_PER_SHEET = 24
MAX_SHEETS = 12
MAX_SOURCES = 8  # shown on a sheet
BASE = "base"  # the source_task of the base vocabulary


@dataclass(frozen=True)
class Thumbnail:
    """An image: what it shows in words, the image as a data URI, its longer side in pixels."""

    text: str
    data_uri: str
    side: int


def thumbnail(text: str, image: bytes, *, file: Path, stage: str) -> Thumbnail:
    """Returns the image unchanged if it is small, else as a JPEG whose longer side is THUMBNAIL_SIDE.

    ContractError that names `file` and the stage that makes it again, if the image cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(image)) as picture:
            side, kind = max(picture.size), (picture.format or "PNG").lower()
            if side > THUMBNAIL_SIDE or len(image) > THUMBNAIL_BYTES or kind not in ("png", "jpeg"):
                image, side, kind = *_shrink(picture), "jpeg"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
        raise broken(file, f"the image of {text!r} should be decodable, but {error}", stage) from error
    return Thumbnail(text, f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}", side)


def _shrink(picture: Image.Image) -> tuple[bytes, int]:
    decoded = picture.convert("RGB")
    small = Image.new("RGB", decoded.size)  # without comments and color profiles, which may be of any size
    small.paste(decoded)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue(), max(small.size)


def evenly_spaced(count: int, most: int) -> list[int]:
    """Returns at most `most` positions below `count`, among them the first and, unless `most` is 1, the last."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / max(1, most - 1)) for index in range(most)]


def a_few(items: Sequence[T], most: int) -> list[T]:
    """Returns at most `most` of the items, evenly spaced."""
    return [items[position] for position in evenly_spaced(len(items), most)]


@dataclass(frozen=True)
class SourceGroup:
    """The pairs of a sheet whose prompts have one source: its name, how many of all pairs there are, and a few of them.

    The name is empty if the sources are unknown.
    """

    source: str
    total: int
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class ContactSheet:
    """The synthetic pairs of one step, and how many of them exist, were generated again or were rejected by filters.

    `position` is the position of the task in the sequence, from 1. `rejected` has a count for each reason. There are no
    groups if the images are not on this machine.
    """

    position: int
    task: str
    total: int
    redrawn: int
    rejected: Mapping[str, int]
    groups: tuple[SourceGroup, ...]

    @property
    def thumbnails(self) -> tuple[Thumbnail, ...]:
        """All images of the sheet."""
        return tuple(image for group in self.groups for image in group.thumbnails)


def contact_sheets(layout: Layout, tasks: tuple[str, ...]) -> tuple[ContactSheet, ...]:
    """A sheet for each task; for a long sequence, MAX_SHEETS of them at even distances.

    ContractError if a manifest is missing, or shards are damaged.
    """
    return tuple(_contact_sheet(layout, tasks, position) for position in evenly_spaced(len(tasks), MAX_SHEETS))


def source_name(source: str) -> str:
    """The source of a prompt as the page names it."""
    return "base vocabulary" if source == BASE else source


def pair_thumbnails(folder: Path, prompt_ids: Sequence[int]) -> list[Thumbnail]:
    """The images of these prompts in their order. ContractError for a damaged shard."""
    pairs = read_pairs(folder, prompt_ids)
    return [thumbnail(pairs[number].prompt, pairs[number].image, file=folder, stage=STAGE) for number in prompt_ids]


def _contact_sheet(layout: Layout, tasks: tuple[str, ...], position: int) -> ContactSheet:
    """The first pairs of each source. Prompts are sampled in random order, so these are a fair sample."""
    task = tasks[position]
    folder, prompts = layout.shards(task), layout.prompts(task)
    manifest = describe_shards(folder, prompts)
    sources = pd.Series("", index=range(manifest.images))
    if prompts.is_file():
        sources = read_prompts(prompts)["source_task"]
    return ContactSheet(
        position=position + 1,
        task=task,
        total=manifest.images,
        redrawn=manifest.redrawn,
        rejected=manifest.rejected or {},
        groups=() if missing_tars(folder, manifest) else _groups(folder, sources, (BASE, *tasks)),
    )


def _groups(folder: Path, sources: pd.Series, order: Sequence[str]) -> tuple[SourceGroup, ...]:
    """`sources` has the source of each prompt_id."""
    positions = {name: at for at, name in enumerate(order)}
    names = sorted(map(str, sources.unique()), key=lambda name: positions.get(name, -1))
    own = {name: [int(number) for number in sources.index[sources == name]] for name in a_few(names, MAX_SOURCES)}
    counts = _shares([len(numbers) for numbers in own.values()])
    return tuple(
        SourceGroup(source_name(name) if name else "", len(numbers), tuple(pair_thumbnails(folder, numbers[:count])))
        for (name, numbers), count in zip(own.items(), counts, strict=True)
    )


def _shares(totals: Sequence[int]) -> list[int]:
    """How many pairs of each source are shown: equally many, and what is left of the sheet from the first ones."""
    counts = [min(total, PAIRS_PER_SHEET // len(totals)) for total in totals]
    for at, total in enumerate(totals):
        counts[at] += min(total - counts[at], PAIRS_PER_SHEET - sum(counts))
    return counts
