"""A folder for transformers: CLIPModel.from_pretrained and CLIPProcessor.from_pretrained load it offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from gift_core.artifacts.atomic import build_folder
from gift_core.artifacts.model_folder import write_provenance
from gift_core.checkpoints.transformers_config import clip_config_of
from gift_core.checkpoints.transformers_layout import to_transformers
from gift_core.checkpoints.transformers_preprocess import image_processor_settings
from gift_core.clip.model import Clip
from gift_core.clip.saving import weights_of
from gift_core.clip.tokenizers import tokenizer_contents

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

WEIGHTS, CONFIG = "model.safetensors", "config.json"
# open_clip's special tokens have other names than those of OpenAI and transformers; their numbers are the same.
_SPECIAL = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}


def export_transformers(clip: Clip, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write config.json, model.safetensors, the tokenizer and the image processor; UserError with the reason if no
    CLIPModel computes what `clip` does.
    """
    config = clip_config_of(clip.config["model_cfg"])
    settings = image_processor_settings(clip.config["preprocess_cfg"], clip.image_size)
    weights = {name.removeprefix("text."): value for name, value in weights_of(clip).items()}
    weights["logit_scale"] = weights["logit_scale"].reshape(())
    with build_folder(folder) as unfinished:
        save_file(to_transformers(weights), unfinished / WEIGHTS, metadata={"format": "pt"})
        (unfinished / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        _write_tokenizer(clip, unfinished)
        _write_image_processor(settings, unfinished)
        write_provenance(unfinished, provenance)


def clip_tokenizer(context_length: int = 77) -> CLIPTokenizer:
    """transformers' tokenizer with the byte-pair vocabulary that open_clip ships: 49,408 entries, 48,894 merges.

    # differs: open_clip mends texts first (ftfy, HTML entities) and pads with 0; transformers does neither.
    """
    from open_clip import SimpleTokenizer
    from transformers import CLIPTokenizer

    source = SimpleTokenizer()
    vocabulary = {_SPECIAL.get(word, word): number for word, number in source.encoder.items()}
    return CLIPTokenizer(vocab=vocabulary, merges=list(source.bpe_ranks), model_max_length=context_length)


def _write_tokenizer(clip: Clip, folder: Path) -> None:
    contents = tokenizer_contents(clip)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    if not contents:
        clip_tokenizer(clip.config["model_cfg"]["text_cfg"].get("context_length", 77)).save_pretrained(folder)


def _write_image_processor(settings: Mapping[str, Any], folder: Path) -> None:
    from transformers import CLIPImageProcessor

    CLIPImageProcessor(**settings).save_pretrained(folder)
