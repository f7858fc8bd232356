"""A Clip as a plain open_clip folder, which open_clip loads without any code of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from gift_core.artifacts.atomic import build_folder
from gift_core.artifacts.model_folder import CONFIG, WEIGHTS, write_losses, write_provenance
from gift_core.clip.model import Clip
from gift_core.clip.tokenizers import tokenizer_contents

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
    save_file(weights_of(clip), folder / WEIGHTS)
    text = json.dumps(clip.config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    for name, content in tokenizer_contents(clip).items():
        (folder / name).write_bytes(content)


def weights_of(clip: Clip) -> dict[str, torch.Tensor]:
    """Copies of all weights and buffers on the CPU, float32 where they are no whole numbers."""
    return {name: _plain(value) for name, value in clip.model.state_dict().items()}


def _plain(value: torch.Tensor) -> torch.Tensor:
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).contiguous().clone()
