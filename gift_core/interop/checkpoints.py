"""Files and folders of CLIP weights, written by any library, as tensors under open_clip's names; and our single file.

Nothing in a file is executed.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gift_core.clip.architectures import NO_WEIGHTS, require_supported
from gift_core.clip.model import require_whole_safetensors
from gift_core.errors import UserError
from gift_core.interop.transformers_format import (
    TRANSFORMERS_MARK,
    TRANSFORMERS_WEIGHTS,
    activation_beside,
    weights_from_transformers,
)
from gift_core.untrusted import parse_json

OPENAI_BUFFERS = ("input_resolution", "context_length", "vocab_size")  # of the models that OpenAI published
_STATE_KEYS = ("state_dict", "model_state_dict", "model")  # keys of the weights in training checkpoints
_PREFIX = re.compile(r"((?:[^.]+\.)*?)(?:visual|vision_model)\.")
# The only key of the metadata: safetensors writes several in an order that changes from run to run. Its value is JSON:
# {"config": open_clip_config.json, "provenance": ..., "tokenizer": {file name: its text}}.
KEY = "open_clip"


@dataclass(frozen=True)
class Checkpoint:
    """Weights from a file or folder.

    Args:
        tensors: the weights by open_clip's names, in the precision of the file.
        written_by: the library or code that wrote them.
        quick_gelu: whether they were trained with QuickGELU; None if unknown.
        evidence: how that is known, or why it is not.
        left_out: names of tensors in the file that are no part of a CLIP.
    """

    tensors: Mapping[str, torch.Tensor]
    written_by: str
    quick_gelu: bool | None
    evidence: str
    left_out: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """The weights in `path`: safetensors, a pickle of tensors, or a transformers folder.

    UserError if the file is damaged, a program (TorchScript), or holds other objects or no weights.
    """
    if path.is_dir():
        folder, path = path, next((file for name in TRANSFORMERS_WEIGHTS if (file := path / name).is_file()), path)
        if path == folder:
            what = f"holds no weights of a transformers CLIP, expected {' or '.join(TRANSFORMERS_WEIGHTS)}"
            remedy = f"An open_clip folder has its own architecture: model.name: local-dir:{folder}."
            raise UserError(f"{folder}: {what}. {remedy}")
    stored, outer = _read(path)
    tensors = {str(name): value for name, value in stored.items() if isinstance(value, torch.Tensor)}
    # The most frequent prefix of the image tower's names: "", "module.", "model.", "image_encoder.model." ...
    prefixes = Counter(match[1] for name in tensors if (match := _PREFIX.match(name)))
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    left_out = tuple(sorted(name for name in tensors if not name.startswith(prefix)))
    buffers = [name for name in OPENAI_BUFFERS if name in inside]
    quick_gelu: bool | None = None
    if TRANSFORMERS_MARK in inside:
        inside, written_by = weights_from_transformers(inside), "transformers' CLIPModel"
        quick_gelu, evidence = activation_beside(path)
    elif buffers:
        written_by, quick_gelu = "OpenAI", True
        evidence = f"it has {', '.join(buffers)}, as the models of OpenAI have, trained with QuickGELU"
    elif "iteration" in outer:
        written_by, quick_gelu = "ZSCL or GIFT_CL", True
        evidence = "it has an entry 'iteration', as checkpoints of ZSCL and GIFT_CL have, which fine-tune OpenAI's CLIP"
    elif "optimizer" in outer and "epoch" in outer:
        written_by, evidence = "open_clip's training", "its checkpoints do not note the activation"
    else:
        written_by, evidence = "a state_dict", "a state_dict does not note the activation"
    skipped = (*OPENAI_BUFFERS, *NO_WEIGHTS)
    weights = {name: value for name, value in inside.items() if name.rpartition(".")[2] not in skipped}
    if not weights:
        raise UserError(f"{path}: holds no tensors. Expected the state_dict of a CLIP model.")
    return Checkpoint(weights, written_by, quick_gelu, evidence, left_out)


def _read(path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """(the stored values by name, none where it is no mapping; the keys of the checkpoint around them)."""
    if path.suffix == ".safetensors":
        require_whole_safetensors(path)
        return load_file(path), ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an archive that is refused below
            stored: Any = torch.load(path, "cpu", weights_only=True)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # of files that are damaged or of another format
        text = " ".join(str(error).split())
        if "TorchScript" in text:
            remedy = (
                f'If you trust it, save its weights alone: torch.save(torch.jit.load("{path.name}").state_dict(), ...)'
            )
            raise UserError(f"{path}: a TorchScript archive, which is a program. {remedy}") from error
        if named := re.search(r"GLOBAL (\S+)", text):
            what = f"holds Python objects beside tensors ({named[1]}); nothing in it was executed"
            remedy = "If you trust the file, save its weights alone: torch.save(model.state_dict(), ...)."
            raise UserError(f"{path}: {what}. {remedy}") from error
        what = f"damaged, or not a file of weights ({text[:200]})"
        raise UserError(f"{path}: {what}. Fetch or make it again.") from error
    if not isinstance(stored, Mapping):
        return {}, ()
    inner = next((key for key in _STATE_KEYS if isinstance(stored.get(key), Mapping)), None)
    return (stored, ()) if inner is None else (stored[inner], tuple(str(key) for key in stored))


def read_single_file(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(the content of open_clip_config.json, the contents of the tokenizer files by name), without the weights.

    UserError if the file is missing or damaged, or has no configuration in its metadata.
    """
    require_whole_safetensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            found = parse_json((file.metadata() or {})[KEY])
        config, model_config = found["config"], found["config"]["model_cfg"]
        contents = {name: content.encode() for name, content in found.get("tokenizer", {}).items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"its metadata has no configuration as `gift export --to safetensors` writes it ({error})"
        raise UserError(f"{path}: {what}. Give its architecture, and the file as pretrained weights.") from error
    require_supported(model_config, str(path))
    return config, contents
