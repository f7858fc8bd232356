"""A model's tokenizer: loaded before its weights are, and the files it consists of."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch

from gift_core.artifacts.model_folder import CONFIG
from gift_core.clip.model import Clip
from gift_core.errors import UserError

LOCAL = "local-dir:"
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
_HUB_REMEDY = (
    "It comes from the Hugging Face hub: connect once (it is kept), or give a folder that holds its files "
    "beside the model, as model.name local-dir:<folder>."
)


def load_tokenizer(name: str) -> Callable[[list[str]], torch.Tensor]:
    """The tokenizer of the model that open_clip calls `name` (an architecture, hf-hub:, local-dir:)."""
    try:
        tokenizer: Callable[[list[str]], torch.Tensor] = open_clip.get_tokenizer(name)
    except Exception as error:  # the tokenizers' own errors name neither the model nor its folder
        remedy = "Fetch the folder again." if name.startswith(LOCAL) else _HUB_REMEDY
        what = f"its tokenizer {_name_of_tokenizer(name)}cannot be loaded: {in_short(error)}"
        raise UserError(f"model.name {name!r}: {what}. {remedy}") from error
    return tokenizer


def _name_of_tokenizer(name: str) -> str:
    """The hub's name of the tokenizer and a space, where `name` is an architecture that names one."""
    known = open_clip.get_model_config(name) if name in open_clip.list_models() else {}
    tokenizer = known.get("text_cfg", {}).get("hf_tokenizer_name")
    return f"{tokenizer} " if tokenizer else ""


def require_text_tower(model_config: Mapping[str, Any], place: str) -> None:
    """Raises UserError where the text tower is one of transformers and its configuration cannot be had."""
    name = model_config["text_cfg"].get("hf_model_name")
    if not name:
        return
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        what = f"the configuration of its text tower {name} cannot be loaded: {in_short(error)}"
        raise UserError(f"{place}: {what}. It comes from the Hugging Face hub: connect once, it is kept.") from error


def tokenizer_files_of(folder: Path) -> tuple[Path, ...]:
    """The tokenizer files in `folder`."""
    return tuple(path for name in TOKENIZER_FILES if (path := folder / name).is_file())


def tokenizer_contents(clip: Clip) -> dict[str, bytes]:
    """The tokenizer's files by name; none where open_clip brings the tokenizer itself.

    UserError where the tokenizer cannot be saved.
    """
    if clip.tokenizer_files:
        return {path.name: path.read_bytes() for path in clip.tokenizer_files}
    if not clip.config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        return {}
    save = getattr(clip.tokenizer, "save_pretrained", None)
    if save is None:
        raise UserError(f"{type(clip.tokenizer).__name__}: this tokenizer cannot be saved beside the model.")
    with tempfile.TemporaryDirectory(prefix="gift-tokenizer-") as place:
        save(place)
        return {path.name: path.read_bytes() for path in sorted(Path(place).iterdir())}


def tokenizer_from(contents: Mapping[str, bytes], model_config: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
    """The tokenizer of `model_config` from the files' contents, as if they lay in an open_clip folder."""
    with tempfile.TemporaryDirectory(prefix="gift-tokenizer-") as place:
        Path(place, CONFIG).write_text(json.dumps({"model_cfg": model_config}), encoding="utf-8")
        for name, content in contents.items():
            Path(place, Path(name).name).write_bytes(content)
        return load_tokenizer(f"{LOCAL}{place}")


def in_short(error: Exception, *, words: int = 60) -> str:
    """The beginning of a foreign error's message, on one line, without its closing full stop."""
    return " ".join(str(error).split()[:words]).rstrip(".")
