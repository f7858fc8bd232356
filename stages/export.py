"""export MODEL: a model in the format of another library."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from stages.models import Model, Pretrained, open_model, require_new

To = Annotated[str, typer.Option(help="transformers, onnx or safetensors.", show_default=False)]
Out = Annotated[Path | None, typer.Option(help="The folder to write; without it exports/<model>-<format>.")]


def export(model: Model, to: To, out: Out = None, pretrained: Pretrained = None) -> None:
    """Write a model for transformers (CLIPModel, CLIPProcessor), for ONNX, or as one safetensors file."""
    from gift_core.artifacts.atomic import require_free_bytes
    from gift_core.checkpoints.opening import identity
    from gift_core.errors import lookup
    from gift_core.exports.table import EXPORTS, export_clip

    lookup(EXPORTS, to, "export --to")
    folder = out or _default_place(model, to)
    require_new(folder)
    clip = open_model(model, pretrained, "cpu")
    require_free_bytes(folder, 2 * 4 * clip.parameter_count, "export")
    files = export_clip(clip, folder, to=to, provenance={"format": to, "model": identity(model, pretrained)})
    for path in files:
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def _default_place(model: str, to: str) -> Path:
    name = "-".join(Path(model).parts[-2:])
    return Path("exports") / re.sub(r"[^\w.-]+", "-", f"{name}-{to}").strip("-")
