"""An open_clip model from the folder that a stage, or open_clip itself, wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError, safe_open

from gift_core.artifacts.model_folder import CONFIG, WEIGHTS
from gift_core.clip.architectures import require_supported
from gift_core.clip.building import as_clip
from gift_core.clip.model import Clip
from gift_core.clip.tokenizers import LOCAL, in_short, load_tokenizer, require_text_tower, tokenizer_files_of
from gift_core.errors import ContractError, UserError

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")


def load_folder(folder: Path, *, device: torch.device, precision: str) -> Clip:
    """The model an earlier stage saved in `folder`; ContractError where it is missing or damaged."""
    try:
        return open_folder(folder, device=device, precision=precision)
    except UserError as error:
        remedy = "The stages import_model and finetune write these folders: run `dvc repro`, or `dvc pull`."
        raise ContractError(f"{error} {remedy}") from error


def open_folder(folder: Path, *, device: torch.device, precision: str) -> Clip:
    """The model in anybody's open_clip folder; UserError names the file and what is wrong with it."""
    config = check_folder(folder)["model_cfg"]
    tokenizer = load_tokenizer(f"{LOCAL}{folder}")
    require_text_tower(config, str(folder))
    model = create_model(f"{LOCAL}{folder}", device, place=str(folder))
    return as_clip(model, tokenizer, config, precision=precision, tokenizer_files=tokenizer_files_of(folder))


def check_folder(folder: Path) -> dict[str, Any]:
    """The content of the folder's open_clip_config.json, after a look at all that open_clip will read.

    UserError names the folder, the file and what is wrong with it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such model folder. It should hold {CONFIG} and {WEIGHTS}; check model.name.")
    config = _read_config(folder / CONFIG)
    weights = sorted(path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES)
    if not weights:
        raise UserError(f"{folder}: holds no weights. Put {WEIGHTS} there, or fetch the folder again.")
    for path in weights:
        if path.suffix == ".safetensors":
            require_whole_safetensors(path)
    if config["model_cfg"]["text_cfg"].get("hf_tokenizer_name") and not tokenizer_files_of(folder):
        raise UserError(f"{folder}: its {CONFIG} names a tokenizer, but no tokenizer file lies beside it.")
    require_supported(config["model_cfg"], str(folder))
    return config


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: missing. An open_clip model folder needs it; fetch the folder again.")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sections = config["model_cfg"]
        missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in sections]
    except (ValueError, KeyError, TypeError) as error:
        what = f"not a model configuration of open_clip ({error!r})"
        raise UserError(f"{path}: {what}. Fetch the folder again.") from error
    if missing:
        raise UserError(f"{path}: model_cfg lacks {', '.join(missing)}. Fetch the folder again.")
    return config


def require_whole_safetensors(path: Path) -> None:
    """The header is read and compared with the file's length: a half-copied file is found before anything starts."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged or incomplete ({error}). Fetch or make it again.") from error


def create_model(name: str, device: torch.device, *, place: str, **options: Any) -> torch.nn.Module:
    """What open_clip makes of `name`, in evaluation mode; UserError with `place` and open_clip's reason."""
    try:
        model: torch.nn.Module = open_clip.create_model(
            name, device=device, precision="fp32", weights_only=True, require_pretrained=True, **options
        )
    except Exception as error:  # whatever open_clip, the hub or torch raise, the user needs the place and the reason
        remedy = "Check the name and the connection, and that weights and configuration belong together."
        raise UserError(f"{place}: open_clip cannot load it: {in_short(error)}. {remedy}") from error
    return model.eval()
