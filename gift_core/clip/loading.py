"""Any open_clip model as a Clip: an architecture with weights, a hub model, a plain folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError, safe_open

from gift_core.artifacts.models import CONFIG, WEIGHTS
from gift_core.clip.model import PRECISIONS, Clip
from gift_core.errors import ContractError, UserError, lookup

LOCAL, HUB = "local-dir:", "hf-hub:"
# Files a Hugging Face tokenizer may consist of.
TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")


def load_clip(name: str, pretrained: str | None = None, *, device: torch.device | str, precision: str = "fp32") -> Clip:
    """The model called `name`, in evaluation mode with float32 weights (half-precision files are widened).

    `name` is an open_clip architecture (ViT-B-16), with `pretrained` a tag that open_clip knows or a weights file
    (safetensors, or a pickle of tensors alone: nothing in it is executed); `hf-hub:owner/model`; or
    `local-dir:folder`, an open_clip folder. UserError says which of them is wrong and what is known instead.
    """
    lookup({known: known for known in PRECISIONS}, precision, "model.precision")
    device = torch.device(device)
    if name.startswith(LOCAL):
        return _from_folder(Path(name.removeprefix(LOCAL)), device=device, precision=precision)
    if name.startswith(HUB):
        return _from_hub(name, device=device, precision=precision)
    lookup({known: known for known in open_clip.list_models()}, name.replace("/", "-"), "model.name (architecture)")
    options = weights_options(name.replace("/", "-"), pretrained)
    model = _create(name, device, place=f"model.name {name!r}, model.pretrained {pretrained!r}", **options)
    model_config = open_clip.get_model_config(name.replace("/", "-"))
    if options.get("force_quick_gelu"):
        model_config["quick_gelu"] = True
    return _finish(name, model, model_config, precision=precision)


def load_folder(folder: Path, *, device: torch.device, precision: str) -> Clip:
    """The model an earlier stage saved in `folder`; ContractError where it is missing or damaged."""
    try:
        return _from_folder(folder, device=device, precision=precision)
    except UserError as error:
        remedy = "The stages import_model and finetune write these folders: run `dvc repro`, or `dvc pull`."
        raise ContractError(f"{error} {remedy}") from error


def _from_folder(folder: Path, *, device: torch.device, precision: str) -> Clip:
    config = check_folder(folder)
    model = _create(f"{LOCAL}{folder}", device, place=str(folder))
    files = tuple(path for name in TOKENIZER_FILES if (path := folder / name).is_file())
    return _finish(f"{LOCAL}{folder}", model, config["model_cfg"], precision=precision, tokenizer_files=files)


def _from_hub(name: str, *, device: torch.device, precision: str) -> Clip:
    model = _create(name, device, place=f"model.name {name!r}")
    return _finish(name, model, open_clip.get_model_config(name), precision=precision)


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
            _check_safetensors(path)
    if config["model_cfg"]["text_cfg"].get("hf_tokenizer_name") and not any(
        (folder / name).is_file() for name in TOKENIZER_FILES
    ):
        raise UserError(f"{folder}: its {CONFIG} names a tokenizer, but no tokenizer file lies beside it.")
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


def _check_safetensors(path: Path) -> None:
    """The header is read and compared with the file's length: a half-copied file is found before anything starts."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged or incomplete ({error}). Fetch or make it again.") from error


def weights_options(architecture: str, pretrained: str | None) -> dict[str, Any]:
    """Arguments for open_clip that fetch `pretrained`, a tag or a file."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is None:
        raise UserError(
            f"model.pretrained: an architecture ({architecture}) has no weights of its own. Give a file or a tag: "
            f"{', '.join(tags) or 'none are known'}."
        )
    if Path(pretrained).is_file():
        if Path(pretrained).suffix == ".safetensors":
            _check_safetensors(Path(pretrained))
        return {"pretrained": pretrained}
    lookup({tag: tag for tag in tags}, pretrained, f"model.pretrained (no such file; tags of {architecture})")
    quick = bool(open_clip.get_pretrained_cfg(architecture, pretrained).get("quick_gelu", False))
    # differs: open_clip only warns when the weights were trained with QuickGELU and the architecture has GELU.
    return {"pretrained": pretrained, "force_quick_gelu": quick}


def _create(name: str, device: torch.device, *, place: str, **options: Any) -> torch.nn.Module:
    try:
        model: torch.nn.Module = open_clip.create_model(
            name, device=device, precision="fp32", weights_only=True, require_pretrained=True, **options
        )
    except Exception as error:  # whatever open_clip, the hub or torch raise, the user needs the place and the reason
        reason = " ".join(str(error).split()[:60])
        remedy = "Check the name, and that weights and configuration belong together."
        raise UserError(f"{place}: open_clip cannot load it: {reason}. {remedy}") from error
    return model.eval()


def _finish(
    name: str,
    model: torch.nn.Module,
    model_config: dict[str, Any],
    *,
    precision: str,
    tokenizer_files: tuple[Path, ...] = (),
) -> Clip:
    try:
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # the tokenizers' own errors name neither the model nor its folder
        raise UserError(f"model.name {name!r}: its tokenizer cannot be loaded: {error}") from error
    preprocess = open_clip.get_model_preprocess_cfg(model)
    config = {"model_cfg": model_config, "preprocess_cfg": json.loads(json.dumps(preprocess))}
    return Clip(model, tokenizer, config, precision, tokenizer_files)
