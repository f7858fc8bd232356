"""Any CLIP by its name as a Clip: an architecture with weights, a hub model, a folder, one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch

from gift_core.artifacts.model_folder import CONFIG
from gift_core.checkpoints.activation import tag_activation
from gift_core.checkpoints.containers import TRANSFORMERS_CONFIG
from gift_core.checkpoints.importing import from_checkpoint, from_file, from_transformers
from gift_core.clip.architectures import architecture_config, require_supported
from gift_core.clip.building import as_clip
from gift_core.clip.folder import create_model, open_folder
from gift_core.clip.model import PRECISIONS, Clip
from gift_core.clip.tokenizers import LOCAL, in_short, load_tokenizer, require_text_tower
from gift_core.errors import UserError, lookup

FILE, HUB = "local-file:", "hf-hub:"


def load_clip(name: str, pretrained: str | None = None, *, device: torch.device | str, precision: str = "fp32") -> Clip:
    """The model called `name`, in evaluation mode with float32 weights (half-precision files are widened).

    `name` is an open_clip architecture (ViT-B-16), with `pretrained` a tag that open_clip knows, or weights on disk
    (nothing in them is executed); `hf-hub:owner/model`; `local-dir:folder`, an open_clip folder or a transformers one;
    or `local-file:file`, what `gift export --to safetensors` wrote. UserError says which of them is wrong and what is
    known instead.
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


def _from_folder(folder: Path, *, device: torch.device, precision: str) -> Clip:
    if (folder / TRANSFORMERS_CONFIG).is_file() and not (folder / CONFIG).is_file():
        return from_transformers(folder, device=device, precision=precision)
    return open_folder(folder, device=device, precision=precision)


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
    return as_clip(create_model(name, device, place=place), tokenizer, config, precision=precision)


def _from_tag(
    architecture: str, config: dict[str, Any], tag: str | None, *, device: torch.device, precision: str
) -> Clip:
    options = tag_options(architecture, tag)
    computes_quick, forced = bool(config.get("quick_gelu")), options["force_quick_gelu"]
    tokenizer = load_tokenizer(architecture)
    require_text_tower(config, f"model.name {architecture!r}")
    model = create_model(
        architecture, device, place=f"model.name {architecture!r}, model.pretrained {tag!r}", **options
    )
    if forced:
        config["quick_gelu"] = True
    note = tag_activation(architecture, options["pretrained"], computes_quick=computes_quick, forced=forced)
    return as_clip(model, tokenizer, config, precision=precision, origin={"activation": note})


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
