"""Explains an error of insufficient memory: what ran, how much memory was requested, and which settings to change.

The errors of the allocators have no common type. They are recognized by their messages, so that torch is not imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import reduce

from gift_core.errors import UserError
from gift_core.work.os_errors import causes

# Parts of the messages of CUDA, ROCm and MPS, of torch's CPU allocator, and of libraries that CUDA loads.
MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
SIZE = r"([\d.]+ ?(?:[KMGTP]i?B|bytes))"
REQUESTED = re.compile(rf"(?:[Tt]ried to allocate|Unable to allocate) {SIZE}")
FREE = re.compile(rf"of which {SIZE} is free")

# By stage: keys of params.yaml in the order in which to try them, and the value to try.
TESTS = {"evaluation.batch_size": "a smaller number", "model.precision": "amp_bf16 (changes results)"}
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "finetune": {
        "training.micro_batch_size": "16, then 8 or 4 (same gradients, about 30% slower)",
        "training.gradient_checkpointing": "true (same gradients, about 25% slower)",
        "training.processes": "the number of your GPUs, if there are several (same gradients)",
        "model.precision": "amp_bf16 (changes results; runs everything except the images again)",
    },
    "synthesize": {
        "generator.batch_size": "a smaller number, down to 1 (changes the images)",
        "generator.memory.vae_slicing": "true, and vae_tiling for sizes above 512",
        "generator.memory.offload": "model, then sequential (slower)",
        "generator.dtype": "float16 or bfloat16 (changes the images)",
    },
    "teach": {
        "evaluation.batch_size": "a smaller number",
        "training.replay_batch_size": "a smaller number, if the method has replay.fisher (changes results)",
        "model.precision": "amp_bf16 (changes results)",
    },
    "evaluate": TESTS,
    "probe": TESTS,
}
LAST_REMEDY = "Close other programs that use this memory, or set run.device to a device with more memory"


def explain(error: BaseException, *, stage: str, title: str, phase: str, config: object) -> UserError | None:
    """Returns the error to show in place of `error` if memory was insufficient, None for any other error.

    `title` names the stage's run, `phase` says what it was doing, `config` has the current values of SETTINGS.
    """
    shortage = next((each for each in causes(error) if is_out_of_memory(each)), None)
    if shortage is None:
        return None
    sizes = [pattern.search(str(shortage)) for pattern in (REQUESTED, FREE)]
    known = [f"{size[1]} {what}" for size, what in zip(sizes, ("requested", "free"), strict=True) if size]
    requested = f" ({', '.join(known)})" if known else ""
    settings = [f"{key} (now {_value(config, key)}): {advice}" for key, advice in SETTINGS.get(stage, {}).items()]
    remedy = f"In params.yaml, in this order: {'; '.join(settings)}. " if settings else ""
    return UserError(
        f"{title}: out of memory while {phase}{requested}. {remedy}{LAST_REMEDY}. See docs/memory.md for the costs."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an allocator raised it: Python's, numpy's, or torch's on any device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in MESSAGES)
    )


def _value(config: object, key: str) -> str:
    """The value as YAML, or null if a section above it is null."""
    value = reduce(lambda section, name: getattr(section, name, None), key.split("."), config)
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
