"""A Clip as a plain open_clip folder, which open_clip loads without any code of ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from gift_core.artifacts.atomic import build_folder
from gift_core.artifacts.losses import write_losses
from gift_core.artifacts.models import CONFIG, WEIGHTS, write_provenance
from gift_core.clip.model import Clip
from gift_core.errors import UserError

LOSSES = "losses.jsonl"


def save_clip(
    clip: Clip, folder: Path, provenance: Mapping[str, Any], losses: Sequence[Mapping[str, float]] = ()
) -> None:
    """Write open_clip_model.safetensors (float32), open_clip_config.json, the tokenizer and provenance.json.

    With `losses`, losses.jsonl too. The folder appears only when it is complete.
    `open_clip.create_model_and_transforms("local-dir:<folder>")` loads it. The same model gives the same bytes.
    """
    with build_folder(folder) as unfinished:
        write_clip(clip, unfinished)
        write_provenance(unfinished, provenance)
        if losses:
            write_losses(unfinished / LOSSES, losses)


def write_clip(clip: Clip, folder: Path) -> None:
    """Weights, configuration and tokenizer into an existing `folder`."""
    state = clip.model.state_dict()
    save_file({name: _plain(value) for name, value in state.items()}, folder / WEIGHTS)
    text = json.dumps(clip.config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    if clip.tokenizer_files:
        for path in clip.tokenizer_files:
            shutil.copyfile(path, folder / path.name)
    elif clip.config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        _save_tokenizer(clip, folder)


def _plain(value: torch.Tensor) -> torch.Tensor:
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).contiguous().clone()


def _save_tokenizer(clip: Clip, folder: Path) -> None:
    """The files of a hub tokenizer, as it writes them itself."""
    save = getattr(clip.tokenizer, "save_pretrained", None)
    if save is None:
        raise UserError(f"{type(clip.tokenizer).__name__}: this tokenizer cannot be saved beside the model.")
    save(folder)
