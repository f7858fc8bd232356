"""What commands that take a model share: how it is named, where it computes, where a new folder may go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gift_core.errors import UserError

if TYPE_CHECKING:
    from gift_core.clip.model import Clip

Model = Annotated[
    str,
    typer.Argument(
        help="A model folder (data/5_models/gift/<task>), a file of `gift export --to safetensors`, "
        "hf-hub:<repository>, or an architecture of open_clip with --pretrained.",
        show_default=False,
    ),
]
Pretrained = Annotated[str | None, typer.Option(help="Weights of an architecture: a tag of open_clip, or a file.")]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:<number>.")]


def open_model(model: str, pretrained: str | None, device: str) -> Clip:
    """Returns the model in fp32; UserError says what is wrong with its name."""
    from gift_core.checkpoints.loading import load_clip
    from gift_core.checkpoints.opening import model_name
    from gift_core.clip.device import resolve_device

    chosen = resolve_device(device)
    return load_clip(model_name(model), pretrained, device=chosen)


def require_new(folder: Path) -> None:
    """Raises UserError where `folder` exists with something in it: nothing of a user's is overwritten."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"--out {folder}: exists already. Name another folder, or remove this one.")
