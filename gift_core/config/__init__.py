"""params.yaml as frozen, strictly checked sections: `load_config(path)` and the classes it returns."""

from __future__ import annotations

from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.config.methods import (
    AnchorConfig,
    ClassTextsConfig,
    ExemplarReplayConfig,
    FisherConfig,
    InterpolateConfig,
    MethodConfig,
    NoReplayConfig,
    PairedReplay,
    RandomTextsConfig,
    ReferenceReplayConfig,
    ReplayConfig,
    RunningMeanConfig,
    SyntheticReplayConfig,
    TaskReplayConfig,
    TaughtReplay,
    TermsConfig,
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
    "AnchorConfig",
    "ClassTextsConfig",
    "Config",
    "EvaluationConfig",
    "ExemplarReplayConfig",
    "FisherConfig",
    "FolderTaskConfig",
    "GeneratorConfig",
    "IngestConfig",
    "InterpolateConfig",
    "MethodConfig",
    "MiniTaskConfig",
    "ModelConfig",
    "NoReplayConfig",
    "PairedReplay",
    "PromptsConfig",
    "RandomTextsConfig",
    "ReferenceReplayConfig",
    "ReplayConfig",
    "RunConfig",
    "RunningMeanConfig",
    "StepConfig",
    "SyntheticReplayConfig",
    "TaskConfig",
    "TaskReplayConfig",
    "TaughtReplay",
    "TermsConfig",
    "TrainingConfig",
    "load_config",
]
