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
CLIP_ENTRIES = 49408  # of a text tower whose configuration does not say it
_HUB_REMEDY = (
    "It comes from the Hugging Face hub: connect once (it is then cached), or name a model folder that holds the "
    "tokenizer's files, as model.name local-dir:<folder>."
)


def load_tokenizer(name: str) -> Callable[[list[str]], torch.Tensor]:
    """The tokenizer of the model that open_clip calls `name` (an architecture, hf-hub:, local-dir:).

    UserError if its files are missing or damaged, name code of their own, or give all texts the same tokens.
    """
    _never_run_remote_code()
    try:
        tokenizer: Callable[[list[str]], torch.Tensor] = open_clip.get_tokenizer(name)
        if len(torch.unique(tokenizer(list(PROBES)), dim=0)) == 1:
            raise ValueError("it gives different texts the same tokens, so its files are empty")
    except Exception as error:  # the tokenizers' own errors name neither the model nor its folder
        remedy = "Fetch the folder again." if name.startswith(LOCAL) else _HUB_REMEDY
        what = f"its tokenizer {_hub_name(name)}cannot be loaded: {short_message(error)}"
        raise UserError(f"model.name {name!r}: {what}. {remedy}") from error
    return tokenizer


def require_known_tokens(
    tokenizer: Callable[[list[str]], torch.Tensor], model_config: Mapping[str, Any], location: str
) -> None:
    """Raises UserError if the tokenizer gives tokens that the embedding of the text tower does not have."""
    text = model_config["text_cfg"]
    entries = text.get("vocab_size", CLIP_ENTRIES)
    if text.get("hf_model_name"):  # transformers' configuration has the size
        return
    largest = int(tokenizer(list(PROBES)).max())
    if largest >= entries:
        what = f"its tokenizer gives token {largest}, and its text tower has {entries} entries"
        raise UserError(f"{location}: {what}. Tokenizer and configuration do not belong together: fetch both again.")


def _never_run_remote_code() -> None:
    """Makes transformers refuse files that bring code of their own. On a terminal it would ask whether to run it."""
    from transformers import dynamic_module_utils

    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0


def require_text_tower(model_config: Mapping[str, Any], location: str) -> None:
    """Raises UserError if the text tower is a transformers model whose configuration cannot be loaded."""
    name = model_config["text_cfg"].get("hf_model_name")
    if not name:
        return
    from transformers import AutoConfig

    _never_run_remote_code()
    try:
        AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        what = f"the configuration of its text tower {name} cannot be loaded: {short_message(error)}"
        remedy = "It comes from the Hugging Face hub: connect once, it is then cached."
        raise UserError(f"{location}: {what}. {remedy}") from error


def tokenizer_files_of(folder: Path) -> tuple[Path, ...]:
    """The tokenizer files in `folder`."""
    return tuple(path for name in TOKENIZER_FILES if (path := folder / name).is_file())


def tokenizer_contents(clip: Clip) -> dict[str, bytes]:
    """The tokenizer's files by name; empty where open_clip ships the tokenizer itself.

    UserError if the tokenizer cannot be saved.
    """
    if clip.tokenizer_files:
        return {path.name: path.read_bytes() for path in clip.tokenizer_files}
    if not clip.config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):
        return {}
    save = getattr(clip.tokenizer, "save_pretrained", None)
    if save is None:
        raise UserError(f"{type(clip.tokenizer).__name__}: this tokenizer cannot be saved beside the model.")
    with tempfile.TemporaryDirectory(prefix="gift-tokenizer-") as folder:
        save(folder)
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


def _hub_name(name: str) -> str:
    """The tokenizer's name on the hub and a space, where `name` is an architecture that uses one."""
    known = open_clip.get_model_config(name) if name in open_clip.list_models() else {}
    tokenizer = known.get("text_cfg", {}).get("hf_tokenizer_name")
    return f"{tokenizer} " if tokenizer else ""
