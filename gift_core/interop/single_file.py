"""A whole model in one safetensors file. Configuration and tokenizer are in the metadata of the file's header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gift_core.artifacts.model_config import shape_fault
from gift_core.clip.model import Clip, require_whole_safetensors, weights_of
from gift_core.clip.tokenizers import tokenizer_contents
from gift_core.errors import UserError, no_such_path
from gift_core.untrusted import parse_json
from gift_core.work.publishing import write_atomically

# The only key of the metadata: safetensors writes several in an order that changes from run to run. Its value is JSON:
# {"config": open_clip_config.json, "provenance": ..., "tokenizer": {file name: its text}}.
KEY = "open_clip"
_REMEDY = "Give its architecture, and the file as pretrained weights."


def save_single_file(clip: Clip, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write the model and `provenance` for read_single_file; the same model gives the same bytes.

    UserError if a tokenizer file is not text (sentencepiece models).
    """
    tokenizer = {name: _text(name, content) for name, content in tokenizer_contents(clip).items()}
    description = {"config": clip.config, "provenance": dict(provenance), "tokenizer": tokenizer}
    with write_atomically(path) as unfinished:
        save_file(weights_of(clip), unfinished, metadata={KEY: json.dumps(description, sort_keys=True)})


def read_single_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, bytes]]:
    """(weights by name, the content of open_clip_config.json, the contents of the tokenizer files by name).

    UserError if the file is missing or damaged, or has no configuration in its metadata.
    """
    if not path.is_file():
        raise UserError(f"{no_such_path(path, 'file')} Expected one that `gift export --to safetensors` wrote.")
    if path.suffix != ".safetensors":
        raise UserError(f"{path}: not a .safetensors file. {_REMEDY}")
    require_whole_safetensors(path)
    with safe_open(path, framework="pt") as file:
        description = _description(path, file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is not a mapping)
    return tensors, description["config"], {name: text.encode() for name, text in description["tokenizer"].items()}


def _description(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = parse_json(metadata.get(KEY, "{}"))
    except ValueError as error:
        raise UserError(f"{path}: its metadata should be JSON, but {error}. {_REMEDY}") from error
    if not isinstance(found, dict) or "config" not in found:
        raise UserError(f"{path}: only weights, no configuration in its metadata. {_REMEDY}")
    config, texts = found["config"], found.get("tokenizer", {})
    fault = shape_fault(config.get("model_cfg")) if isinstance(config, dict) else "config should be an object"
    if not fault and not isinstance(config.get("preprocess_cfg"), dict):
        fault = "preprocess_cfg should be an object"
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        fault = "tokenizer should be an object of texts"
    if fault:
        raise UserError(f"{path}: the configuration in its metadata is wrong: {fault}. {_REMEDY}")
    return {"config": config, "tokenizer": texts}


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"its tokenizer file {name} is not text and cannot be stored in a safetensors header"
        raise UserError(f"export: {what}. Use the open_clip folder itself, or --to onnx.") from error
