"""Memory that did not suffice, in a sentence that helps: what ran, how much was asked for, what to change.

The allocators' errors have no common type, and are told by their words, so that nothing of torch is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from types import TracebackType

from gift_core.errors import UserError

# What the errors say: CUDA, ROCm and MPS; torch's allocator of the CPU; libraries that CUDA loads.
WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
SIZE = r"([\d.]+ ?(?:[KMGTP]i?B|bytes))"
ASKED = re.compile(rf"(?:[Tt]ried to allocate|Unable to allocate) {SIZE}")
FREE = re.compile(rf"of which {SIZE} is free")

# What the stage was at, by the library function that it had called.
PHASES = {
    "load_folder": "loading the model",
    "load_clip": "loading the model",
    "load_teacher": "loading the teacher",
    "load_pipeline": "loading the pipeline",
    "load_lessons": "reading the task's images",
    "load_replay": "reading what is replayed",
    "finetune": "training",
    "teach": "asking the teacher",
    "synthesize": "drawing images",
    "evaluate_task_incremental": "testing",
    "evaluate_class_incremental": "testing",
    "save_clip": "saving the model",
}
# By stage: keys of params.yaml in the order in which to try them, and what to write there.
KNOBS: Mapping[str, Mapping[str, str]] = {
    "finetune": {
        "training.micro_batch_size": "16, then 8 or 4 (the same gradients, a third slower)",
        "training.gradient_checkpointing": "true (the same gradients, a quarter slower)",
        "model.precision": "amp_bf16 (other numbers; runs everything but the images again)",
    },
    "synthesize": {
        "generator.batch_size": "fewer, down to 1 (other images)",
        "generator.memory.vae_slicing": "true, and vae_tiling for sizes above 512",
        "generator.memory.offload": "model, then sequential (slower)",
        "generator.dtype": "float16 or bfloat16 (other images)",
    },
    "teach": {
        "evaluation.batch_size": "fewer",
        "training.replay_batch_size": "fewer, where replay.fisher is asked for (other numbers)",
        "model.precision": "amp_bf16 (other numbers)",
    },
    "evaluate": {"evaluation.batch_size": "fewer", "model.precision": "amp_bf16 (other numbers)"},
}
LAST_REMEDY = "Close what else uses that memory, or set run.device to a device with more"


def explain(error: BaseException, *, stage: str, cell: str, config: object) -> UserError | None:
    """The error to show in place of `error` where memory was too small, None where it says anything else.

    `cell` names the stage's run, `config` holds the current values of KNOBS.
    """
    shortage = next((each for each in _causes(error) if is_out_of_memory(each)), None)
    if shortage is None:
        return None
    sizes = [pattern.search(str(shortage)) for pattern in (ASKED, FREE)]
    told = [f"{size[1]} {what}" for size, what in zip(sizes, ("were asked for", "were free"), strict=True) if size]
    asked = f" ({', '.join(told)})" if told else ""
    knobs = [f"{key} (now {_value(config, key)}): {advice}" for key, advice in KNOBS.get(stage, {}).items()]
    remedy = f"In params.yaml, in this order: {'; '.join(knobs)}. " if knobs else ""
    return UserError(
        f"{cell}: out of memory while {_phase(error.__traceback__)}{asked}. "
        f"{remedy}{LAST_REMEDY}. docs/memory.md says what each costs."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator raised it: Python's, numpy's, or torch's on any device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _phase(traceback: TracebackType | None) -> str:
    """What the outermost function of PHASES on the way to the error does."""
    while traceback is not None:
        function = traceback.tb_frame.f_code
        if function.co_name in PHASES and "gift_core" in function.co_filename:
            return PHASES[function.co_name]
        traceback = traceback.tb_next
    return "running"


def _value(config: object, key: str) -> str:
    """The value in the words of YAML; null where a section on the way is."""
    value = reduce(lambda section, name: getattr(section, name, None), key.split("."), config)
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
