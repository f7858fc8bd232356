"""A model as people name it on the command line: a folder, a file, or any name that load_clip takes."""

from __future__ import annotations

from pathlib import Path

from gift_core.artifacts.atomic import sha256_of
from gift_core.artifacts.model_folder import WEIGHTS
from gift_core.checkpoints.loading import FILE
from gift_core.clip.tokenizers import LOCAL


def model_name(text: str) -> str:
    """The name by which load_clip knows `text`: folders and files need no local-dir: or local-file: before them."""
    path = Path(text)
    if path.is_dir():
        return f"{LOCAL}{text}"
    return f"{FILE}{text}" if path.is_file() else text


def identity(text: str, pretrained: str | None) -> dict[str, str]:
    """What tells a model from others, for provenance.json: its name, and the SHA-256 of weights that lie here."""
    found = {"name": text} | ({"pretrained": pretrained} if pretrained else {})
    place = Path(pretrained or text.removeprefix(LOCAL).removeprefix(FILE))
    weights = place / WEIGHTS if place.is_dir() else place
    return found | ({"sha256": sha256_of(weights)} if weights.is_file() else {})
