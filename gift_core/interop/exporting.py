"""Writes a Clip in the formats of other libraries: transformers, ONNX, one safetensors file.

B images, N texts, L tokens, D features, S side of the model's images.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch.nn import functional

from gift_core.artifacts.contract import write_json
from gift_core.artifacts.model_folder import write_provenance
from gift_core.clip.model import Clip, tokenizer_contents, weights_of, write_tokenizer
from gift_core.errors import UserError, explained
from gift_core.interop.importing import KEY
from gift_core.interop.transformers_format import (
    TRANSFORMERS_CONFIG,
    clip_config_of,
    image_processor_settings,
    weights_to_transformers,
)
from gift_core.work.publishing import build_folder

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

Export = Callable[[Clip, Path, Mapping[str, Any]], None]

SAFETENSORS = "model.safetensors"  # the name that transformers expects, and of our single file
IMAGE_GRAPH, TEXT_GRAPH = "image.onnx", "text.onnx"
DESCRIPTION = "model.json"
OPSET = 18
# open_clip's special tokens have other names than those of OpenAI and transformers. Their numbers are the same.
_SPECIAL_TOKENS = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}


def export_clip(clip: Clip, folder: Path, *, to: str, provenance: Mapping[str, Any]) -> list[Path]:
    """Write `clip` and provenance.json into `folder` in the format called `to`; returns the files, sorted.

    The folder appears only when it is complete. UserError for a model that the format cannot express.
    """
    with build_folder(folder) as temporary:
        EXPORTS[to](clip, temporary, provenance)
        write_provenance(temporary, provenance)
    return sorted(path for path in folder.iterdir() if path.is_file())


def export_transformers(clip: Clip, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write a folder that CLIPModel.from_pretrained and CLIPProcessor.from_pretrained load offline.

    UserError with the reason where no CLIPModel computes what `clip` does.
    """
    from transformers import CLIPImageProcessor

    config = clip_config_of(clip.config["model_cfg"])
    settings = image_processor_settings(clip.config["preprocess_cfg"], clip.image_size)
    save_file(weights_to_transformers(weights_of(clip)), folder / SAFETENSORS, metadata={"format": "pt"})
    (folder / TRANSFORMERS_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if not write_tokenizer(clip, folder):
        length = clip.config["model_cfg"]["text_cfg"].get("context_length", 77)
        clip_tokenizer(length).save_pretrained(folder)
    CLIPImageProcessor(**settings).save_pretrained(folder)


def export_onnx(clip: Clip, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write two ONNX graphs to unit features, for any batch size, and everything needed to use them.

    image.onnx (pixels [B, 3, S, S] -> features [B, D]), text.onnx (tokens [N, L] -> features [N, D]), model.json (the
    preprocessing and the scale), the tokenizer's files. UserError if torch cannot export the model.
    """
    pixels_BCHW = torch.zeros(2, 3, clip.image_size, clip.image_size)
    tokens_NL = clip.tokenizer(["a", "b c"])
    _write_graph(_Features(clip.model, "encode_image"), pixels_BCHW, folder / IMAGE_GRAPH, name="pixels")
    _write_graph(_Features(clip.model, "encode_text"), tokens_NL, folder / TEXT_GRAPH, name="tokens")
    write_tokenizer(clip, folder)
    length = int(tokens_NL.shape[1])
    how_to_use: dict[str, Any] = {
        "opset": OPSET,
        "image": {"file": IMAGE_GRAPH, "input": "pixels", "output": "features", "size": clip.image_size},
        "text": {"file": TEXT_GRAPH, "input": "tokens", "output": "features", "context_length": length},
        "scale": float(clip.scale),
        "preprocess_cfg": clip.config["preprocess_cfg"],
        "model_cfg": clip.config["model_cfg"],
    }
    write_json(folder / DESCRIPTION, how_to_use)


def export_safetensors(clip: Clip, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write model.safetensors, a whole model in one file; load_clip opens it as `local-file:<path>`.

    The same model gives the same bytes. UserError if a tokenizer file is not text (sentencepiece models).
    """
    try:
        tokenizer = {name: content.decode("utf-8") for name, content in tokenizer_contents(clip).items()}
    except UnicodeDecodeError as error:
        problem = "its tokenizer is not text and cannot be stored in a safetensors header"
        raise UserError(f"export: {problem}. Use the open_clip folder itself, or --to onnx.") from error
    description = {"config": clip.config, "provenance": dict(provenance), "tokenizer": tokenizer}
    save_file(weights_of(clip), folder / SAFETENSORS, metadata={KEY: json.dumps(description, sort_keys=True)})


EXPORTS: dict[str, Export] = {
    "transformers": export_transformers,
    "onnx": export_onnx,
    "safetensors": export_safetensors,
}


def clip_tokenizer(context_length: int = 77) -> CLIPTokenizer:
    """transformers' tokenizer with the byte-pair vocabulary that open_clip ships: 49,408 entries, 48,894 merges.

    # differs: open_clip cleans texts first (ftfy, HTML entities) and pads with 0; transformers does neither.
    """
    from open_clip import SimpleTokenizer
    from transformers import CLIPTokenizer

    source = SimpleTokenizer()
    vocabulary = {_SPECIAL_TOKENS.get(word, word): number for word, number in source.encoder.items()}
    return CLIPTokenizer(vocab=vocabulary, merges=list(source.bpe_ranks), model_max_length=context_length)


class _Features(torch.nn.Module):
    """One tower with normalized features."""

    def __init__(self, model: torch.nn.Module, encode: str) -> None:
        super().__init__()
        self.model, self._encode = model, encode

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.normalize(getattr(self.model, self._encode)(rows), dim=-1)


def _write_graph(tower: torch.nn.Module, example: torch.Tensor, path: Path, *, name: str) -> None:
    printed = contextlib.redirect_stdout(io.StringIO())  # the exporter's progress
    cannot = explained(f"export --to onnx: {path.name}: torch cannot export this tower", "Export safetensors instead.")
    with warnings.catch_warnings(), printed, cannot:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            from onnx_ir.passes.common import ClearMetadataAndDocStringPass

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
            assert program is not None, "with dynamo=True there is one"
            ClearMetadataAndDocStringPass()(program.model)  # it has the paths of this machine's modules
            program.save(path)
        finally:
            logging.disable(logging.NOTSET)
