"""source.json of a teacher's folder: which replay the folder is for, and the hashes of what the stage teach read.

The stage finetune depends on this folder and not on the shards. source.json changes whenever they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gift_core.artifacts.atomic import write_json

SOURCE = "source.json"


def write_source(folder: Path, *, replay: str, read: Mapping[str, str]) -> None:
    """Writes source.json; `read` maps what was read to its SHA-256. Without replay both say so, and never change."""
    write_json(folder / SOURCE, {"replay": replay, "read": dict(read)})
