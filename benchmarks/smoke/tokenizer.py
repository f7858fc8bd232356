"""CLIP's own BPE tokenizer in transformers' format, from the vocabulary file that open_clip brings along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"  # transformers' names; open_clip's are <start_of_text>, <end_of_text>


def clip_tokenizer(context_length: int = 77) -> CLIPTokenizer:
    """Returns the tokenizer of CLIP and of Stable Diffusion 1.x: 49,408 entries, 48,894 merges, padded with its end.

    # differs: open_clip mends texts first (ftfy, HTML entities) and pads with 0; transformers does neither.
    """
    from open_clip import SimpleTokenizer
    from transformers import CLIPTokenizer

    source = SimpleTokenizer()
    renamed = {"<start_of_text>": START, "<end_of_text>": END}
    vocabulary = {renamed.get(entry, entry): index for entry, index in source.encoder.items()}
    return CLIPTokenizer(vocab=vocabulary, merges=list(source.bpe_ranks), model_max_length=context_length)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes tokenizer.json, tokenizer_config.json, and vocab.json with merges.txt, which older readers look for."""
    tokenizer.save_pretrained(str(folder))
    tokenizer.backend_tokenizer.model.save(str(folder))
