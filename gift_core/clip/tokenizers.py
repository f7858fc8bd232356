"""Tokenizers: loading them, finding their files, saving them with a model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
import torch

from gift_core.artifacts.model_folder import CONFIG
from gift_core.clip.architectures import CLIP_VOCABULARY
from gift_core.errors import UserError

if TYPE_CHECKING:
    from gift_core.clip.model import Clip

LOCAL = "local-dir:"
# The files that a Hugging Face tokenizer may consist of.
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
PROBES = (
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    *("photo", "of", "the", "red", "blue", "cat", "dog", "tree", "one", "two"),
)
_HUB_REMEDY = (
    "It comes from the Hugging Face hub: connect once (it is then cached), or name a model folder that holds the "
    "tokenizer's files, as model.name local-dir:<folder>."
)


def load_tokenizer(name: str) -> Callable[[list[str]], torch.Tensor]:
    """The tokenizer of the model that open_clip calls `name` (an architecture, hf-hub:, local-dir:).

    UserError if its files are missing or damaged, name code of their own, or give all texts the same tokens.
    """
    from transformers import dynamic_module_utils

    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # refuse code in files; at a terminal it would ask whether to run it
    try:
        tokenizer: Callable[[list[str]], torch.Tensor] = open_clip.get_tokenizer(name)
        if len(torch.unique(tokenizer(list(PROBES)), dim=0)) == 1:
            raise ValueError("it gives different texts the same tokens, so its files are empty")
    except Exception as error:  # the tokenizers' own errors name neither the model nor its folder
        remedy = "Fetch the folder again." if name.startswith(LOCAL) else _HUB_REMEDY
        what = f"its tokenizer cannot be loaded: {short_message(error)}"
        raise UserError(f"model.name {name!r}: {what}. {remedy}") from error
    return tokenizer


def require_known_tokens(
    tokenizer: Callable[[list[str]], torch.Tensor], model_config: Mapping[str, Any], location: str
) -> None:
    """Raises UserError if the tokenizer gives tokens that the embedding of the text tower does not have."""
    text = model_config["text_cfg"]
    entries = text.get("vocab_size", CLIP_VOCABULARY)
    if text.get("hf_model_name"):  # transformers' configuration has the size
        return
    largest = int(tokenizer(list(PROBES)).max())
    if largest >= entries:
        what = f"its tokenizer gives token {largest}, and its text tower has {entries} entries"
        raise UserError(f"{location}: {what}. Tokenizer and configuration do not belong together: fetch both again.")


def tokenizer_files_of(folder: Path) -> tuple[Path, ...]:
    """The tokenizer files in `folder`."""
    return tuple(path for name in TOKENIZER_FILES if (path := folder / name).is_file())


def tokenizer_contents(clip: Clip) -> dict[str, bytes]:
    """The tokenizer's files by name; empty where open_clip ships the tokenizer itself."""
    if clip.tokenizer_files:
        return {path.name: path.read_bytes() for path in clip.tokenizer_files}
    if not clip.config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        return {}
    tokenizer: Any = clip.tokenizer
    with tempfile.TemporaryDirectory(prefix="gift-tokenizer-") as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def tokenizer_from(contents: Mapping[str, bytes], model_config: Mapping[str, Any]) -> Callable[..., torch.Tensor]:
    """The tokenizer of `model_config` from the contents of its files, by name."""
    with tempfile.TemporaryDirectory(prefix="gift-tokenizer-") as folder:
        Path(folder, CONFIG).write_text(json.dumps({"model_cfg": model_config}), encoding="utf-8")
        for name, content in contents.items():
            Path(folder, Path(name).name).write_bytes(content)
        return load_tokenizer(f"{LOCAL}{folder}")


def short_message(error: Exception) -> str:
    """The first words of another library's error message, on one line, without a final full stop."""
    return " ".join(str(error).split()[:60]).rstrip(".")
