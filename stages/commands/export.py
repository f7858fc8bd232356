"""export MODEL: a model in the format of another library."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from gift_core.errors import UserError, lookup

from ..command_line import AsJson, plain_path, print_files, print_json, require_new
from ..completion import complete_from
from ..stage import argument, option

FORMATS = ("transformers", "onnx", "safetensors")  # of EXPORTS, which needs torch
Model = Annotated[
    str,
    argument(
        "MODEL",
        "A model folder (data/6_released/gift/<task>), a file of `gift export --to safetensors`, "
        "hf-hub:<repository>, or an architecture of open_clip with --pretrained.",
        callback=plain_path,
    ),
]
Pretrained = Annotated[str | None, option("TAG", "The weights of the architecture: a tag of open_clip, or a file.")]
To = Annotated[
    str, option("FORMAT", "The format: transformers, onnx or safetensors.", autocompletion=complete_from(FORMATS))
]
ExportFolder = Annotated[Path | None, option("FOLDER", "The folder to write (default: exports/<model>-<format>).")]


def export(
    model: Model, to: To, out: ExportFolder = None, pretrained: Pretrained = None, as_json: AsJson = False
) -> None:
    """Write a model for transformers (CLIPModel, CLIPProcessor), for ONNX, or as one safetensors file.

    Example: gift export data/6_released/gift/digits --to transformers
    """
    from gift_core.artifacts.model_folder import require_model_path

    lookup(dict.fromkeys(FORMATS), to, "export --to")
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
