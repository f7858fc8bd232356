"""Weights that open_clip does not load by itself, as a Clip: checkpoints, transformers folders, single files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gift_core.checkpoints.activation import settle_activation
from gift_core.checkpoints.containers import TRANSFORMERS_CONFIG, read_checkpoint, read_config
from gift_core.checkpoints.fitting import fill
from gift_core.checkpoints.one_file import read_one_file
from gift_core.checkpoints.transformers_config import model_config_of
from gift_core.checkpoints.transformers_preprocess import preprocess_beside
from gift_core.clip.architectures import CLIP_VOCABULARY, require_supported
from gift_core.clip.building import as_clip, build_model, preprocess_of
from gift_core.clip.model import Clip
from gift_core.clip.tokenizers import load_tokenizer, require_text_tower, tokenizer_files_of, tokenizer_from
from gift_core.errors import UserError


def from_checkpoint(
    architecture: str, config: dict[str, Any], path: Path, *, device: torch.device, precision: str
) -> Clip:
    """open_clip's `architecture`, whose model_cfg is `config`, with the weights in `path` (checkpoints.containers)."""
    place = f"model.pretrained {path}"
    checkpoint = read_checkpoint(path)
    computes_quick = bool(config.get("quick_gelu"))
    quick, activation = settle_activation(architecture, computes_quick, checkpoint, place)
    if quick:
        config["quick_gelu"] = True
    tokenizer = load_tokenizer(architecture)
    require_text_tower(config, f"model.name {architecture!r}")
    model = build_model(config, preprocess_of(architecture) | preprocess_beside(path))
    fill(model, checkpoint.tensors, f"{place}, model.name {architecture}")
    origin = {"written_by": checkpoint.written_by, "activation": activation}
    if checkpoint.left_out:
        origin["left_out"] = ", ".join(checkpoint.left_out)
    return as_clip(model.to(device), tokenizer, config, precision=precision, origin=origin)


def from_transformers(folder: Path, *, device: torch.device, precision: str) -> Clip:
    """What CLIPModel.save_pretrained wrote; config.json decides the architecture and the activation."""
    config = model_config_of(read_config(folder / TRANSFORMERS_CONFIG), str(folder / TRANSFORMERS_CONFIG))
    files = tokenizer_files_of(folder)
    if files:
        config["text_cfg"]["hf_tokenizer_name"] = "."
    elif config["text_cfg"]["vocab_size"] != CLIP_VOCABULARY:
        raise UserError(
            f"{folder}: no tokenizer lies there, and its vocabulary is not CLIP's. Save the tokenizer there."
        )
    checkpoint = read_checkpoint(folder)
    tokenizer = tokenizer_from({path.name: path.read_bytes() for path in files}, config)
    model = build_model(config, preprocess_beside(folder))
    fill(model, checkpoint.tensors, str(folder))
    kind = "QuickGELU" if config["quick_gelu"] else "GELU"
    origin = {"written_by": checkpoint.written_by, "activation": f"{kind}: {checkpoint.evidence}"}
    return as_clip(model.to(device), tokenizer, config, precision=precision, tokenizer_files=files, origin=origin)


def from_file(path: Path, *, device: torch.device, precision: str) -> Clip:
    """What `gift export --to safetensors` wrote."""
    tensors, config, tokenizer_contents = read_one_file(path)
    model_config = config["model_cfg"]
    require_supported(model_config, str(path))
    require_text_tower(model_config, str(path))
    tokenizer = tokenizer_from(tokenizer_contents, model_config)
    model = build_model(model_config, config["preprocess_cfg"])
    fill(model, tensors, str(path))
    return as_clip(model.to(device), tokenizer, model_config, precision=precision)
