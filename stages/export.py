"""export MODEL: writes a model in the format of another library."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from .output import AsJson, print_json

FORMATS = ("transformers", "onnx", "safetensors")  # of EXPORTS, which needs torch
Model = Annotated[
    str,
    typer.Argument(
        help="A model folder (data/5_models/gift/<task>), a file of `gift export --to safetensors`, "
        "hf-hub:<repository>, or an architecture of open_clip with --pretrained.",
        metavar="MODEL",
        show_default=False,
    ),
]
Pretrained = Annotated[
    str | None,
    typer.Option(metavar="TAG", help="The weights of the architecture: a tag of open_clip, or a file."),
]
To = Annotated[
    str,
    typer.Option(
        metavar="FORMAT",
        help="The format: transformers, onnx or safetensors.",
        show_default=False,
        autocompletion=lambda incomplete: [each for each in FORMATS if each.startswith(incomplete)],
    ),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="The folder to write (default: exports/<model>-<format>).")
]


def export(model: Model, to: To, out: Out = None, pretrained: Pretrained = None, as_json: AsJson = False) -> None:
    """Write a model for transformers (CLIPModel, CLIPProcessor), for ONNX, or as one safetensors file.

    Example: gift export data/5_models/gift/digits --to transformers
    """
    from gift_core.artifacts.model_folder import require_model_path
    from gift_core.errors import lookup

    lookup(dict.fromkeys(FORMATS), to, "export --to")
    require_model_path(model)
    folder = out or _default_folder(model, to)
    require_new(folder, model)
    from gift_core.clip.disk_space import model_bytes
    from gift_core.interop.exporting import export_clip
    from gift_core.interop.importing import model_identity, open_model
    from gift_core.quantities import byte_size
    from gift_core.work.publishing import require_free_bytes

    clip = open_model(model, pretrained, device="cpu")
    require_free_bytes(folder, 2 * model_bytes(clip), "export")
    files = export_clip(clip, folder, to=to, provenance={"format": to, "model": model_identity(model, pretrained)})
    if as_json:
        print_json({"format": to, "files": [{"path": path, "bytes": path.stat().st_size} for path in files]})
        return
    for path in files:
        typer.echo(f"{path}  {byte_size(path.stat().st_size)}")


def require_new(folder: Path, *inputs: str, made: Collection[str] = ()) -> None:
    """Raises UserError unless `folder` can be written without touching a file of the user.

    It may be an empty folder, or have nothing but the files `made`, which the command writes. It must not be a link,
    below a file, or in one of the folders `inputs`.
    """
    from gift_core.errors import UserError

    blocking = next((parent for parent in folder.absolute().parents if parent.exists() and not parent.is_dir()), None)
    if blocking is not None:
        raise UserError(f"--out {folder}: {blocking} is a file. Name a folder that is not below a file.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        what = "a link" if folder.is_symlink() else "a file"
        raise UserError(f"--out {folder}: already exists, and is {what}. Name a new folder, or remove it.")
    if folder.is_dir() and (others := sorted({path.name for path in folder.iterdir()} - set(made))):
        what = f"already exists, and has other files ({others[0]})"
        raise UserError(f"--out {folder}: {what}. Name another folder, or remove this one.")
    within = next((name for name in inputs if _is_within(folder, Path(name))), None)
    if within is not None:
        raise UserError(f"--out {folder}: is in {within}, which is read. Name a folder outside it.")


def _is_within(folder: Path, other: Path) -> bool:
    return other.is_dir() and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(other))


def _default_folder(model: str, to: str) -> Path:
    name = "-".join(Path(model).parts[-2:])
    return Path("exports") / re.sub(r"[^\w.-]+", "-", f"{name}-{to}").strip("-")
