"""params.yaml as frozen, strictly checked sections: `load_config(path)` and the classes it returns."""

from __future__ import annotations

from gift_core.config.experiment import Config
from gift_core.config.generator import GatesConfig, GeneratorConfig, GeneratorMemoryConfig, LoraConfig
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
    IngestConfig,
    ModelConfig,
    PromptsConfig,
    RunConfig,
    StepConfig,
    TrainingConfig,
)
from gift_core.config.tasks import (
    CatalogueTaskConfig,
    FolderTaskConfig,
    MiniTaskConfig,
    TableTaskConfig,
    TaskConfig,
    WebDatasetTaskConfig,
)

__all__ = [
    "AnchorConfig",
    "CatalogueTaskConfig",
    "ClassTextsConfig",
    "Config",
    "EvaluationConfig",
    "ExemplarReplayConfig",
    "FisherConfig",
    "FolderTaskConfig",
    "GatesConfig",
    "GeneratorConfig",
    "GeneratorMemoryConfig",
    "IngestConfig",
    "InterpolateConfig",
    "LoraConfig",
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
    "TableTaskConfig",
    "TaskConfig",
    "TaskReplayConfig",
    "TaughtReplay",
    "TermsConfig",
    "TrainingConfig",
    "WebDatasetTaskConfig",
    "load_config",
]
