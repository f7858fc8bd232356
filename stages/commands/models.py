"""merge MODEL MODEL..., export MODEL: one model of several, and a model in the format of another library."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from gift_core.errors import UserError

from ..command_line import AsJson, plain_path, print_files, print_json, require_new
from ..stage import argument, option

Kind = Literal["interpolate", "mean", "task_arithmetic", "ties", "magmax"]
TRAINED_FROM = "task_arithmetic, ties, magmax: the model from which the others were trained."


def merge(
    models: list[str] = argument(
        "MODEL", "Two models or more of one architecture: folders or files.", callback=plain_path
    ),
    out: Path = option("FOLDER", "The folder to write.", default=...),
    kind: Kind = option("KIND", f"How to merge: {', '.join(get_args(Kind))}.", default="interpolate"),
    alpha: float | None = option(
        "SHARE", "interpolate: the share of the second model. 0 gives the first.", min=0, max=1
    ),
    base: str | None = option("MODEL", TRAINED_FROM, callback=plain_path),
    weight: list[float] | None = option("NUMBER...", "task_arithmetic: by what to multiply the changes of each model."),
    scale: float | None = option("NUMBER", "ties, magmax: by what to multiply the merged change (1)."),
    keep: float | None = option("SHARE", "ties: the share of a model's changes that is kept (0.2).", min=0, max=1),
    as_json: AsJson = False,
) -> None:
    """Merge models of one architecture into one: interpolate two, or average or add up any number.

    interpolate takes alpha of the second model and the rest of the first (WiSE-FT).
    docs/models.md describes the kinds. `gift test` tests the result.

    Example: gift merge data/5_models/pretrained data/6_released/gift/digits --alpha 0.8 --out merged
    """
    from gift_core.artifacts.model_folder import require_model_path
    from gift_core.interop.merge_kinds import complete_options

    named = [*models, *([base] if base else [])]
    for name in named:
        require_model_path(name)
    given = {"alpha": alpha, "base": base, "weight": weight or None, "scale": scale, "keep": keep}
    options = complete_options(kind, given, models=len(models))
    require_new(out, *named)
    from gift_core.interop.merging import merge_models, open_stored

    stored, start = [open_stored(name) for name in models], open_stored(base) if base else None
    noted = merge_models(kind, stored, out, options=options, base=start)
    if as_json:
        print_json({"model": out, **noted})
    else:
        typer.echo(f"{out}: {kind} of {', '.join(model.identity['name'] for model in stored)}")


Format = Literal["transformers", "onnx", "safetensors"]
Model = Annotated[
    str,
    argument(
        "MODEL",
        "A model folder (data/6_released/gift/<task>), a file of `gift export --to safetensors`, "
        "hf-hub:<repository>, or an architecture of open_clip with --pretrained.",
        callback=plain_path,
    ),
]
Pretrained = Annotated[
    str | None, option("TAG", "The weights of the architecture: a tag of open_clip, or a file.", default=...)
]


def export(
    model: Model,
    to: Format = option("FORMAT", "The format: transformers, onnx or safetensors.", default=...),
    out: Path | None = option("FOLDER", "The folder to write (default: exports/<model>-<format>)."),
    pretrained: Pretrained = None,
    as_json: AsJson = False,
) -> None:
    """Write a model for transformers (CLIPModel, CLIPProcessor), for ONNX, or as one safetensors file.

    Example: gift export data/6_released/gift/digits --to transformers
    """
    from gift_core.artifacts.model_folder import require_model_path

    missing = [name for name in ("onnx", "onnxscript") if to == "onnx" and find_spec(name) is None]
    if missing:
        remedy = "make setup EXTRAS=onnx, or pip install 'gift-pipeline[onnx]'"
        raise UserError(f"export --to onnx: it needs {' and '.join(missing)}. Install the extra: {remedy}.")
    require_model_path(model)
    name = "-".join([*Path(model).parts[-2:], to])
    folder = out or Path("exports") / re.sub(r"[^\w.-]+", "-", name).strip("-")
    require_new(folder, model)
    from gift_core.interop.exporting import export_clip
    from gift_core.interop.importing import model_identity, open_model

    clip = open_model(model, pretrained, device="cpu")
    files = export_clip(clip, folder, to=to, provenance={"format": to, "model": model_identity(model, pretrained)})
    if as_json:
        print_json({"format": to, "files": [{"path": path, "bytes": path.stat().st_size} for path in files]})
    else:
        print_files(files)
