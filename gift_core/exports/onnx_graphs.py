"""Two ONNX graphs, images and texts to unit features, for any batch.  B images, N texts, L tokens, D features."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from gift_core.artifacts.atomic import build_folder, write_json
from gift_core.artifacts.model_folder import write_provenance
from gift_core.clip.model import Clip
from gift_core.clip.tokenizers import tokenizer_contents
from gift_core.errors import UserError

OPSET = 18
IMAGE, TEXT, DESCRIPTION = "image.onnx", "text.onnx", "model.json"
_NEEDED = "pip install 'gift-pipeline[onnx]' (onnx, onnxscript; onnxruntime to run them)"


def export_onnx(clip: Clip, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write image.onnx (pixels [B, 3, S, S] -> features [B, D]), text.onnx (tokens [N, L] -> features [N, D]),
    model.json (how to prepare both, and the scale) and the tokenizer's files; ONNX opset 18.

    UserError where the onnx packages are missing or the model cannot be exported.
    """
    _require_packages()
    length = int(clip.tokenizer(["a"]).shape[1])
    pixels_BCHW = torch.zeros(2, 3, clip.image_size, clip.image_size)
    tokens_NL = clip.tokenizer(["a", "b c"])
    with build_folder(folder) as unfinished:
        _write_graph(_Features(clip.model, "encode_image"), pixels_BCHW, unfinished / IMAGE, name="pixels")
        _write_graph(_Features(clip.model, "encode_text"), tokens_NL, unfinished / TEXT, name="tokens")
        for name, content in tokenizer_contents(clip).items():
            (unfinished / name).write_bytes(content)
        write_json(unfinished / DESCRIPTION, _description(clip, length))
        write_provenance(unfinished, provenance)


class _Features(torch.nn.Module):
    """One tower with its features made unit."""

    def __init__(self, model: torch.nn.Module, encode: str) -> None:
        super().__init__()
        self.model, self._encode = model, encode

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Unit features [N, D] of N normalised images [N, 3, H, W] or N token rows [N, L]."""
        return functional.normalize(getattr(self.model, self._encode)(rows), dim=-1)


def _write_graph(tower: torch.nn.Module, example: torch.Tensor, path: Path, *, name: str) -> None:
    with _silent():
        try:
            program = torch.onnx.export(
                tower.eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[name],
                output_names=["features"],
                opset_version=OPSET,
                verbose=False,
            )
        except Exception as error:  # the exporter's own errors name neither the tower nor a way out
            reason = " ".join(str(error).split()[:40])
            raise UserError(f"export --to onnx: {path.name}: torch cannot export this tower: {reason}") from error
        if program is None:
            raise UserError(f"export --to onnx: {path.name}: torch made no graph of this tower.")
        program.save(path)


def _description(clip: Clip, length: int) -> dict[str, Any]:
    """Everything beside the graphs that is needed to classify with them."""
    return {
        "opset": OPSET,
        "image": {"file": IMAGE, "input": "pixels", "output": "features", "size": clip.image_size},
        "text": {"file": TEXT, "input": "tokens", "output": "features", "context_length": length},
        "scale": float(clip.scale),
        "preprocess_cfg": clip.config["preprocess_cfg"],
        "model_cfg": clip.config["model_cfg"],
    }


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The exporter reports its own progress on stdout and warns of what it works around."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UserError(f"export --to onnx: {', '.join(missing)} is not installed. {_NEEDED}.")
