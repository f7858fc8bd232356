"""What each type of stage of dvc.yaml needs, in one place and in the order of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageFacts:
    """What a stage needs.

    Attributes:
        of_methods: it runs for each method.
        computes: it runs a model: on a GPU, if there is one, and what an interrupted run has done is kept in .gift.
        always_runs: it reads all of params.yaml, so that each edit runs it.
        writes: what its output is called in the sums of the disk; empty: nothing large.
        less_memory: the settings that need less memory, the first remedy first. docs/memory.md has the costs.
        less_time: the settings that decide how long it takes.
    """

    of_methods: bool = False
    computes: bool = False
    always_runs: bool = False
    writes: str = ""
    less_memory: str = ""
    less_time: str = ""


EVALUATED = "evaluation.batch_size; model.precision"  # needs less memory
STAGES = {
    "check": StageFacts(always_runs=True),
    "import_model": StageFacts(writes="models"),
    "ingest": StageFacts(writes="tasks", less_time="shots or classes of the tasks"),
    "probe": StageFacts(computes=True, less_memory=EVALUATED),
    "write_vocabulary": StageFacts(),
    "write_prompts": StageFacts(),
    "synthesize": StageFacts(
        computes=True, writes="shards", less_time="generator.steps or prompts.images_per_task",
        less_memory="generator.batch_size; generator.memory (vae_slicing, offload); generator.dtype",
    ),
    "teach": StageFacts(
        of_methods=True, computes=True, writes="teachers",
        less_memory="evaluation.batch_size; training.replay_batch_size for a method with replay.fisher; "
        "model.precision",
    ),
    "finetune": StageFacts(
        of_methods=True, computes=True, writes="models", less_time="training.iterations or training.batch_size",
        less_memory="training.micro_batch_size: 16, then 8 or 4; training.gradient_checkpointing; training.processes",
    ),
    "evaluate": StageFacts(
        of_methods=True, computes=True, writes="models", less_memory=EVALUATED,
        less_time="evaluation.max_images (empty: all test images)",
    ),
    "report": StageFacts(always_runs=True),
}  # fmt: skip


def facts_of(stage: str) -> StageFacts:
    """Returns what a stage needs, by its name or that of one of its runs: finetune@gift-step1. Nothing if unknown."""
    return STAGES.get(stage.partition("@")[0], StageFacts())
