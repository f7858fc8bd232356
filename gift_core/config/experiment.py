"""The whole of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gift_core.config.generator import GeneratorConfig
from gift_core.config.methods import MethodConfig
from gift_core.config.sections import (
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    PromptsConfig,
    RunConfig,
    StepConfig,
    TrainingConfig,
)
from gift_core.config.tasks import TaskConfig
from gift_core.errors import lookup
from gift_core.section import Section, Text


class Config(Section):
    """The active experiment: every number that people edit."""

    experiment: Text
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    run: RunConfig
    model: ModelConfig
    generator: GeneratorConfig
    prompts: PromptsConfig
    tasks: Annotated[dict[str, TaskConfig], Field(min_length=1)]
    ingest: IngestConfig
    sequence: Annotated[tuple[StepConfig, ...], Field(min_length=1)]
    training: TrainingConfig
    evaluation: EvaluationConfig
    methods: Annotated[dict[str, MethodConfig], Field(min_length=1)]

    def position(self, task: str) -> int:
        """Returns the step (0..T-1) that learns `task`; UserError with the nearest name where the sequence has none."""
        return lookup({step.task: index for index, step in enumerate(self.sequence)}, task, "params.yaml: sequence")

    def step(self, index: int) -> StepConfig:
        """Returns the step at `index`, 0..T-1."""
        return self.sequence[index]
