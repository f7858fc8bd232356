"""params.yaml as frozen, strictly checked sections: `load_config(path)` and the classes it returns."""

from __future__ import annotations

from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.config.methods import (
    AdaptiveFisherAnchorConfig,
    AlignConfig,
    AnchorConfig,
    DistillConfig,
    MethodConfig,
    NoAnchorConfig,
    NoReplayConfig,
    ReplayConfig,
    SyntheticReplayConfig,
    TermsConfig,
    UniformAnchorConfig,
)
from gift_core.config.sections import (
    EvaluationConfig,
    GeneratorConfig,
    IngestConfig,
    ModelConfig,
    PromptsConfig,
    RunConfig,
    StepConfig,
    TrainingConfig,
)
from gift_core.config.tasks import FolderTaskConfig, MiniTaskConfig, TaskConfig

__all__ = [
    "AdaptiveFisherAnchorConfig",
    "AlignConfig",
    "AnchorConfig",
    "Config",
    "DistillConfig",
    "EvaluationConfig",
    "FolderTaskConfig",
    "GeneratorConfig",
    "IngestConfig",
    "MethodConfig",
    "MiniTaskConfig",
    "ModelConfig",
    "NoAnchorConfig",
    "NoReplayConfig",
    "PromptsConfig",
    "ReplayConfig",
    "RunConfig",
    "StepConfig",
    "SyntheticReplayConfig",
    "TaskConfig",
    "TermsConfig",
    "TrainingConfig",
    "UniformAnchorConfig",
    "load_config",
]
