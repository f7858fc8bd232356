"""A Clip as one safetensors file: the weights, and in the header's metadata open_clip's configuration and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gift_core.artifacts.atomic import write_atomically
from gift_core.clip.folder import require_whole_safetensors
from gift_core.clip.model import Clip
from gift_core.clip.saving import weights_of
from gift_core.clip.tokenizers import tokenizer_contents
from gift_core.errors import UserError

# The one key of the header's metadata, so that its order is no question; its value is JSON:
# {"config": open_clip_config.json, "provenance": ..., "tokenizer": {file's name: its text}}.
KEY = "open_clip"


def save_one_file(clip: Clip, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write everything `read_one_file` needs into `path`, and `provenance`; the same model gives the same bytes.

    UserError where the tokenizer has files that are no text (sentencepiece models).
    """
    tokenizer = {name: _text(name, content) for name, content in tokenizer_contents(clip).items()}
    described = {"config": clip.config, "provenance": dict(provenance), "tokenizer": tokenizer}
    with write_atomically(path) as unfinished:
        save_file(weights_of(clip), unfinished, metadata={KEY: json.dumps(described, sort_keys=True)})


def read_one_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, bytes]]:
    """(weights, content of open_clip_config.json, content of each tokenizer file by its name).

    UserError where the file is missing or damaged, or has no configuration in it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Expected one that `gift export --to safetensors` wrote.")
    if path.suffix != ".safetensors":
        raise UserError(f"{path}: no .safetensors file. Give its architecture, and the file as pretrained weights.")
    require_whole_safetensors(path)
    with safe_open(path, framework="pt") as file:
        described = json.loads((file.metadata() or {}).get(KEY, "{}"))
        if "config" not in described:
            what = "only weights, no configuration in its metadata"
            raise UserError(f"{path}: {what}. Give its architecture, and the file as pretrained weights.")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    return tensors, described["config"], {name: text.encode() for name, text in described["tokenizer"].items()}


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"its tokenizer file {name} is no text and has no place in a safetensors header"
        raise UserError(f"export: {what}. Use the open_clip folder itself, or --to onnx.") from error
