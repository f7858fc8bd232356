"""The contact sheets: the first synthetic pairs of each task as thumbnails inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from gift_core.artifacts.shards import first_pairs, read_manifest
from gift_core.layout import Layout

THUMBNAIL_SIDE = 128  # pixels
PAIRS_PER_SHEET = 24
MAX_SHEETS = 12


@dataclass(frozen=True)
class Thumbnail:
    """A synthetic pair: its prompt, its image as a data URI, the longer side of the image in pixels."""

    prompt: str
    data_uri: str
    side: int


@dataclass(frozen=True)
class ContactSheet:
    """Thumbnails of one task, and how many of its pairs exist, were generated again or were rejected by filters.

    `position` is the position of the task in the sequence, from 1. `rejected` has a count for each reason.
    """

    position: int
    task: str
    total: int
    redrawn: int
    rejected: Mapping[str, int]
    thumbnails: tuple[Thumbnail, ...]


def contact_sheets(layout: Layout, tasks: tuple[str, ...]) -> tuple[ContactSheet, ...]:
    """A sheet for each task; for a long sequence, MAX_SHEETS of them at even distances.

    ContractError if shards are missing or damaged.
    """
    return tuple(_contact_sheet(layout, tasks, position) for position in evenly_spaced(len(tasks), MAX_SHEETS))


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` positions below `count`, among them the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / (most - 1)) for index in range(most)]


def thumbnail(prompt: str, image: bytes) -> Thumbnail:
    """The image as a data URI: unchanged if it is small, else scaled down to a JPEG of quality 80."""
    with Image.open(io.BytesIO(image)) as picture:
        side, kind = max(picture.size), (picture.format or "PNG").lower()
        if side > THUMBNAIL_SIDE:
            small = picture.convert("RGB")
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=80)
            image, kind, side = buffer.getvalue(), "jpeg", THUMBNAIL_SIDE
    return Thumbnail(prompt, f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}", side)


def _contact_sheet(layout: Layout, tasks: tuple[str, ...], position: int) -> ContactSheet:
    """The first pairs of the shards. Prompts are sampled in random order, so these are a fair sample."""
    folder = layout.shards(tasks[position])
    manifest = read_manifest(folder, layout.prompts(tasks[position]))
    return ContactSheet(
        position=position + 1,
        task=tasks[position],
        total=manifest["images"],
        redrawn=manifest["redrawn"],
        rejected=manifest.get("rejected", {}),
        thumbnails=tuple(thumbnail(pair.prompt, pair.image) for pair in first_pairs(folder, PAIRS_PER_SHEET)),
    )
