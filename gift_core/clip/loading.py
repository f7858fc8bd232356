"""Any open_clip model as a Clip: an architecture with weights, a hub model, a folder, one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch

from gift_core.artifacts.models import CONFIG, WEIGHTS
from gift_core.clip.activation import tag_activation
from gift_core.clip.architectures import architecture_config, require_supported
from gift_core.clip.building import as_clip
from gift_core.clip.checkpoints import TRANSFORMERS_CONFIG, require_whole_safetensors
from gift_core.clip.importing import from_checkpoint, from_file, from_transformers
from gift_core.clip.model import PRECISIONS, Clip
from gift_core.clip.tokenizers import LOCAL, in_short, load_tokenizer, require_text_tower, tokenizer_files_of
from gift_core.errors import ContractError, UserError, lookup

FILE, HUB = "local-file:", "hf-hub:"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")


def load_clip(name: str, pretrained: str | None = None, *, device: torch.device | str, precision: str = "fp32") -> Clip:
    """The model called `name`, in evaluation mode with float32 weights (half-precision files are widened).

    `name` is an open_clip architecture (ViT-B-16), with `pretrained` a tag that open_clip knows, or weights on disk
    (clip.checkpoints: nothing in them is executed); `hf-hub:owner/model`; `local-dir:folder`, an open_clip folder or a
    transformers one; or `local-file:file`, what `gift export --to safetensors` wrote. UserError says which of them is
    wrong and what is known instead.
    """
    lookup({known: known for known in PRECISIONS}, precision, "model.precision")
    device = torch.device(device)
    if name.startswith(LOCAL):
        return _from_folder(Path(name.removeprefix(LOCAL)), device=device, precision=precision)
    if name.startswith(FILE):
        return from_file(Path(name.removeprefix(FILE)), device=device, precision=precision)
    if name.startswith(HUB):
        return _from_hub(name, device=device, precision=precision)
    architecture, config = architecture_config(name)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is not None and pretrained not in tags and Path(pretrained).exists():
        return from_checkpoint(architecture, config, Path(pretrained), device=device, precision=precision)
    return _from_tag(architecture, config, pretrained, device=device, precision=precision)


def load_folder(folder: Path, *, device: torch.device, precision: str) -> Clip:
    """The model an earlier stage saved in `folder`; ContractError where it is missing or damaged."""
    try:
        return _from_folder(folder, device=device, precision=precision)
    except UserError as error:
        remedy = "The stages import_model and finetune write these folders: run `dvc repro`, or `dvc pull`."
        raise ContractError(f"{error} {remedy}") from error


def _from_folder(folder: Path, *, device: torch.device, precision: str) -> Clip:
    if (folder / TRANSFORMERS_CONFIG).is_file() and not (folder / CONFIG).is_file():
        return from_transformers(folder, device=device, precision=precision)
    config = check_folder(folder)["model_cfg"]
    tokenizer = load_tokenizer(f"{LOCAL}{folder}")
    require_text_tower(config, str(folder))
    model = _create(f"{LOCAL}{folder}", device, place=str(folder))
    return as_clip(model, tokenizer, config, precision=precision, tokenizer_files=tokenizer_files_of(folder))


def _from_hub(name: str, *, device: torch.device, precision: str) -> Clip:
    place = f"model.name {name!r}"
    try:
        config = open_clip.get_model_config(name)
    except Exception as error:  # the hub's own errors are many
        remedy = "Check the name and the connection, or fetch the repository into a folder: local-dir:<folder>."
        raise UserError(f"{place}: its configuration cannot be fetched: {in_short(error)}. {remedy}") from error
    require_supported(config, place)
    tokenizer = load_tokenizer(name)
    require_text_tower(config, place)
    return as_clip(_create(name, device, place=place), tokenizer, config, precision=precision)


def _from_tag(
    architecture: str, config: dict[str, Any], tag: str | None, *, device: torch.device, precision: str
) -> Clip:
    options = tag_options(architecture, tag)
    computes_quick, forced = bool(config.get("quick_gelu")), options["force_quick_gelu"]
    tokenizer = load_tokenizer(architecture)
    require_text_tower(config, f"model.name {architecture!r}")
    model = _create(architecture, device, place=f"model.name {architecture!r}, model.pretrained {tag!r}", **options)
    if forced:
        config["quick_gelu"] = True
    note = tag_activation(architecture, options["pretrained"], computes_quick=computes_quick, forced=forced)
    return as_clip(model, tokenizer, config, precision=precision, origin={"activation": note})


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


def tag_options(architecture: str, tag: str | None) -> dict[str, Any]:
    """Arguments for open_clip that fetch the weights it knows by `tag`; UserError with what is known instead."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag is None:
        raise UserError(
            f"model.pretrained: an architecture ({architecture}) has no weights of its own. Give a file or a tag: "
            f"{', '.join(tags) or 'none are known'}."
        )
    lookup({each: each for each in tags}, tag, f"model.pretrained (no such file; tags of {architecture})")
    quick = bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu", False))
    # differs: open_clip only warns when the weights were trained with QuickGELU and the architecture has GELU.
    return {"pretrained": tag, "force_quick_gelu": quick}


def _create(name: str, device: torch.device, *, place: str, **options: Any) -> torch.nn.Module:
    try:
        model: torch.nn.Module = open_clip.create_model(
            name, device=device, precision="fp32", weights_only=True, require_pretrained=True, **options
        )
    except Exception as error:  # whatever open_clip, the hub or torch raise, the user needs the place and the reason
        remedy = "Check the name and the connection, and that weights and configuration belong together."
        raise UserError(f"{place}: open_clip cannot load it: {in_short(error)}. {remedy}") from error
    return model.eval()
