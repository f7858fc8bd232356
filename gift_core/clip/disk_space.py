"""How many bytes a model takes on disk, to be asked for before the work that makes it."""

from __future__ import annotations

import json

from gift_core.clip.model import Clip
from gift_core.clip.tokenizers import tokenizer_contents

SNAPSHOT_COPIES = 4  # of what is trained: its values, both moments of AdamW, and a running mean or a consolidation
_LOSS_ROW_BYTES = 400  # of losses.jsonl, for each iteration
_TENSOR_BYTES = 200  # its entry in the header of the safetensors file
_FOLDER_BYTES = 1 << 16  # provenance.json, and what is lost to whole blocks


def model_bytes(clip: Clip, *, iterations: int = 0) -> int:
    """Returns an upper bound for a folder that save_clip writes, with the losses of so many iterations."""
    tokenizer = sum(map(len, tokenizer_contents(clip).values()))
    header = _TENSOR_BYTES * len(clip.model.state_dict()) + len(json.dumps(clip.config, indent=2))
    tensors = clip.model.state_dict().values()  # floating-point values are stored as float32
    weights: int = sum(value.numel() * (4 if value.is_floating_point() else value.element_size()) for value in tensors)
    return weights + header + tokenizer + _LOSS_ROW_BYTES * iterations + _FOLDER_BYTES


def training_bytes(clip: Clip, *, iterations: int, trained: int) -> int:
    """Returns an upper bound for the model after a task and for the snapshot that exists while it is trained.

    `trained` is the number of values that are trained, each of them float32.
    """
    header = _TENSOR_BYTES * SNAPSHOT_COPIES * len(clip.model.state_dict()) + _LOSS_ROW_BYTES * iterations
    return model_bytes(clip, iterations=iterations) + SNAPSHOT_COPIES * 4 * trained + header
