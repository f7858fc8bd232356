"""Loads any CLIP by its name: an architecture with weights, a hub model, a folder, a single file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import CONFIG, WEIGHTS, require_model_path
from gift_core.clip.architectures import (
    CLIP_VOCABULARY,
    architecture_config,
    build_model,
    preprocess_of,
    require_supported,
)
from gift_core.clip.device import resolve_device
from gift_core.clip.model import PRECISIONS, Clip, as_clip, create_model, open_folder
from gift_core.clip.tokenizers import (
    LOCAL,
    load_tokenizer,
    require_text_tower,
    short_message,
    tokenizer_files_of,
    tokenizer_from,
)
from gift_core.downloads import CACHED_WEIGHTS, require_download
from gift_core.errors import UserError, lookup, nearest, no_such_path
from gift_core.interop.checkpoints import read_checkpoint, read_single_file
from gift_core.interop.fitting import choose_activation, fill_weights, tag_activation
from gift_core.interop.transformers_format import (
    TRANSFORMERS_CONFIG,
    model_config_of,
    preprocess_beside,
    read_config,
)

FILE, HUB = "local-file:", "hf-hub:"


def open_model(text: str, pretrained: str | None = None, *, device: str) -> Clip:
    """The model that a user names on the command line, in fp32: a folder, a file, or any name of load_clip.

    `device` is a name of clip.device.resolve_device. UserError says what is wrong with either name.
    """
    chosen = resolve_device(device)
    require_model_path(text)
    name = _with_prefix(text)
    architectures, plain = open_clip.list_models(), name.replace("/", "-")
    if not name.startswith((LOCAL, FILE, HUB)) and plain not in architectures:
        what = f"{no_such_path(Path(text))} open_clip has no architecture of that name, either."
        raise UserError(f"{what} {nearest(plain, architectures)}docs/models.md says what can be loaded.")
    return load_clip(name, pretrained, device=chosen)


def model_identity(text: str, pretrained: str | None = None) -> dict[str, str]:
    """What identifies such a model in provenance.json: its name, and the SHA-256 of weights on this machine."""
    found = {"name": text} | ({"pretrained": pretrained} if pretrained else {})
    path = Path(pretrained or text.removeprefix(LOCAL).removeprefix(FILE))
    weights = path / WEIGHTS if path.is_dir() else path
    return found | ({"sha256": sha256_of(weights)} if weights.is_file() else {})


def load_clip(name: str, pretrained: str | None = None, *, device: torch.device | str, precision: str = "fp32") -> Clip:
    """The model called `name`, in evaluation mode with float32 weights (half-precision files are widened).

    Args:
        name: an open_clip architecture (ViT-B-16); `hf-hub:owner/model`; `local-dir:folder`, an open_clip or a
            transformers folder; `local-file:file`, written by `gift export --to safetensors`.
        pretrained: the weights of an architecture: a tag that open_clip knows, or a file or folder (checkpoints.py
            lists the formats; nothing in them is executed).

    Raises:
        UserError: which of the arguments is wrong, and what is known instead.
    """
    lookup({known: known for known in PRECISIONS}, precision, "model.precision")
    device = torch.device(device)
    if pretrained is not None and name.startswith((LOCAL, FILE, HUB)):
        what = f"{pretrained[:80]!r} has no effect, because {name} has its own weights"
        raise UserError(f"model.pretrained: {what}. Leave it out (null), or name an architecture: ViT-B-16.")
    if name.startswith(LOCAL):
        return _from_folder(Path(name.removeprefix(LOCAL)), device=device, precision=precision)
    if name.startswith(FILE):
        return _from_single_file(Path(name.removeprefix(FILE)), device=device, precision=precision)
    if name.startswith(HUB):
        return _from_hub(name, device=device, precision=precision)
    architecture, config = architecture_config(name)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained is not None and pretrained not in tags and Path(pretrained).exists():
        return _from_checkpoint(architecture, config, Path(pretrained), device=device, precision=precision)
    return _from_tag(architecture, config, pretrained, device=device, precision=precision)


def _require_weights(repository: str, file: str, key: str) -> None:
    """Raises UserError if the weights are neither in the cache of the hub nor to be had from it."""
    folder = f"data/0_raw/models/{repository.rpartition('/')[2]}"
    params = {"name": f"{LOCAL}{folder}", "pretrained": "null"}
    require_download(repository, (file,) if file else CACHED_WEIGHTS, key=key, folder=folder, params=params)


def tag_options(architecture: str, tag: str | None) -> dict[str, Any]:
    """open_clip's arguments for the weights that it knows by `tag`; UserError lists the known tags.

    # differs: open_clip only warns if the weights were trained with QuickGELU and the architecture has GELU.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag is None:
        raise UserError(
            f"model.pretrained: an architecture ({architecture}) has no weights of its own. Give a file or a tag: "
            f"{', '.join(tags) or 'none are known'}."
        )
    if tag not in tags and ("/" in tag or Path(tag).suffix):
        raise UserError(f"model.pretrained: {no_such_path(Path(tag))} Correct the path, or name a tag.")
    lookup({each: each for each in tags}, tag, f"model.pretrained (no such file; tags of {architecture})")
    quick = bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu", False))
    return {"pretrained": tag, "force_quick_gelu": quick}


def _with_prefix(text: str) -> str:
    """Paths of folders and files get the local-dir: or local-file: that load_clip expects."""
    path = Path(text)
    if path.is_dir():
        return f"{LOCAL}{text}"
    return f"{FILE}{text}" if path.is_file() else text


def _from_folder(folder: Path, *, device: torch.device, precision: str) -> Clip:
    if (folder / TRANSFORMERS_CONFIG).is_file() and not (folder / CONFIG).is_file():
        return _from_transformers(folder, device=device, precision=precision)
    return open_folder(folder, device=device, precision=precision)


def _from_transformers(folder: Path, *, device: torch.device, precision: str) -> Clip:
    """A folder that CLIPModel.save_pretrained wrote. config.json decides the architecture and the activation."""
    config = model_config_of(read_config(folder / TRANSFORMERS_CONFIG), str(folder / TRANSFORMERS_CONFIG))
    files = tokenizer_files_of(folder)
    if files:
        config["text_cfg"]["hf_tokenizer_name"] = "."
    elif config["text_cfg"]["vocab_size"] != CLIP_VOCABULARY:
        raise UserError(
            f"{folder}: holds no tokenizer, and its vocabulary is not CLIP's. Save the tokenizer in that folder."
        )
    checkpoint = read_checkpoint(folder)
    tokenizer = tokenizer_from({path.name: path.read_bytes() for path in files}, config)
    model = build_model(config, preprocess_beside(folder))
    fill_weights(model, checkpoint.tensors, str(folder))
    kind = "QuickGELU" if config["quick_gelu"] else "GELU"
    origin = {"written_by": checkpoint.written_by, "activation": f"{kind}: {checkpoint.evidence}"}
    model = model.to(device)
    location = str(folder)
    return as_clip(
        model, tokenizer, config, location=location, precision=precision, tokenizer_files=files, origin=origin
    )


def _from_single_file(path: Path, *, device: torch.device, precision: str) -> Clip:
    tensors, config, tokenizer_contents = read_single_file(path)
    model_config = config["model_cfg"]
    require_supported(model_config, str(path))
    require_text_tower(model_config, str(path))
    tokenizer = tokenizer_from(tokenizer_contents, model_config)
    model = build_model(model_config, config["preprocess_cfg"])
    fill_weights(model, tensors, str(path))
    return as_clip(model.to(device), tokenizer, model_config, location=str(path), precision=precision)


def _from_hub(name: str, *, device: torch.device, precision: str) -> Clip:
    location = f"model.name {name!r}"
    _require_weights(name.removeprefix(HUB), "", "model.name")
    try:
        config = open_clip.get_model_config(name)
    except Exception as error:  # the hub raises many types
        remedy = "Check the name and the connection, or fetch the repository into a folder: local-dir:<folder>."
        raise UserError(f"{location}: its configuration cannot be fetched: {short_message(error)}. {remedy}") from error
    require_supported(config, location)
    tokenizer = load_tokenizer(name)
    require_text_tower(config, location)
    model = create_model(name, device, location=location)
    return as_clip(model, tokenizer, config, location=location, precision=precision)


def _from_checkpoint(
    architecture: str, config: dict[str, Any], path: Path, *, device: torch.device, precision: str
) -> Clip:
    """open_clip's `architecture`, whose model_cfg is `config`, with the weights in `path`."""
    location = f"model.pretrained {path}"
    checkpoint = read_checkpoint(path)
    computes_quick = bool(config.get("quick_gelu"))
    quick, activation = choose_activation(architecture, computes_quick, checkpoint, location)
    if quick:
        config["quick_gelu"] = True
    tokenizer = load_tokenizer(architecture)
    require_text_tower(config, f"model.name {architecture!r}")
    model = build_model(config, preprocess_of(architecture) | preprocess_beside(path))
    fill_weights(model, checkpoint.tensors, f"{location}, model.name {architecture}")
    origin = {"written_by": checkpoint.written_by, "activation": activation}
    if checkpoint.left_out:
        origin["left_out"] = ", ".join(checkpoint.left_out)
    return as_clip(model.to(device), tokenizer, config, location=location, precision=precision, origin=origin)


def _from_tag(
    architecture: str, config: dict[str, Any], tag: str | None, *, device: torch.device, precision: str
) -> Clip:
    options = tag_options(architecture, tag)
    repository, _, file = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").rpartition("/")
    if repository:
        _require_weights(repository, file, "model.pretrained")
    computes_quick, forced = bool(config.get("quick_gelu")), options["force_quick_gelu"]
    tokenizer = load_tokenizer(architecture)
    require_text_tower(config, f"model.name {architecture!r}")
    location = f"model.name {architecture!r}, model.pretrained {tag!r}"
    model = create_model(architecture, device, location=location, **options)
    if forced:
        config["quick_gelu"] = True
    note = tag_activation(architecture, options["pretrained"], computes_quick=computes_quick, forced=forced)
    origin = {"activation": note}
    return as_clip(model, tokenizer, config, location=location, precision=precision, origin=origin)
