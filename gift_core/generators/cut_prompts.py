"""Prompts that are longer than a pipeline reads: one warning, in place of the libraries' with the text of each."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

logger = logging.getLogger(__name__)
# How the warnings of transformers and of diffusers begin.
WARNINGS = ("Token indices sequence length is longer than", "The following part of your input was truncated")


def warn_of_cut(prompts: Sequence[str], pipeline: Any, arguments: Mapping[str, Any]) -> None:
    """Logs how many prompts are longer than the text encoder reads, and how many tokens it reads, if there are any.

    `arguments` are those with which the pipeline is called. Of several encoders, as in Stable Diffusion 3, it is the
    one that reads the most.
    """
    tokenizer = longest_tokenizer(pipeline)
    if tokenizer is None:
        return
    longest = tokenizer.model_max_length
    of_call = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
    if of_call is not None:
        longest = min(longest, arguments.get("max_sequence_length", of_call.default))
    lengths = {prompt: len(tokenizer(prompt).input_ids) for prompt in dict.fromkeys(prompts)}
    cut = sum(lengths[prompt] > longest for prompt in prompts)
    if cut:
        logger.warning(f"{cut} of {len(prompts)} prompts are longer than the generator's {longest} tokens and are cut")


def longest_tokenizer(pipeline: Any) -> Any:
    """Returns the tokenizer of the pipeline that reads the most tokens; None without one."""
    tokenizers = [part for name, part in pipeline.components.items() if name.startswith("tokenizer") and part]
    return max(tokenizers, key=lambda part: part.model_max_length, default=None)


def silence_cut_prompts() -> None:
    """Leaves these warnings out of what diffusers and transformers print, which are imported."""
    for name in ("diffusers", "transformers"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_is_of_something_else)


def _is_of_something_else(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(WARNINGS)
