"""GIFT as a library: everything the stages call, and nothing that knows of DVC or the command line.

`import gift_core` imports nothing else. The names of __all__ are loaded when they are first used, and are what other
projects can rely on (docs/library.md). The modules behind them may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gift_core.datasets.stored_pairs import read_pairs
    from gift_core.errors import GiftError, UserError
    from gift_core.library.finetuning import Training, finetune, method_row, released
    from gift_core.library.generating import generate_pairs, sample_prompts, vocabulary
    from gift_core.library.given_pairs import estimate_fisher
    from gift_core.library.saving import save
    from gift_core.library.testing import accuracy, recall
    from gift_core.library.transformers_models import from_transformers, to_transformers
    from gift_core.method.averaging import Interpolation, RunningMean
    from gift_core.method.consolidation import AdaptiveFisher, Consolidation, FrozenFisher, StaticFisher, Uniform
    from gift_core.method.losses import (
        align,
        distill,
        distill_features,
        distill_image_side,
        distill_reverse_kl,
        distill_text_side,
        distill_vocabulary,
        task_loss,
    )
    from gift_core.method.methods import WeightedLoss, distill_entropy
    from gift_core.method.training.loop import learning_rates

__all__ = [
    "AdaptiveFisher",
    "Consolidation",
    "FrozenFisher",
    "GiftError",
    "Interpolation",
    "RunningMean",
    "StaticFisher",
    "Training",
    "Uniform",
    "UserError",
    "WeightedLoss",
    "accuracy",
    "align",
    "distill",
    "distill_entropy",
    "distill_features",
    "distill_image_side",
    "distill_reverse_kl",
    "distill_text_side",
    "distill_vocabulary",
    "estimate_fisher",
    "finetune",
    "from_transformers",
    "generate_pairs",
    "learning_rates",
    "method_row",
    "read_pairs",
    "recall",
    "released",
    "sample_prompts",
    "save",
    "task_loss",
    "to_transformers",
    "vocabulary",
]
# Where the names are. The first modules import little.
_MODULES = (
    "errors", "method.averaging", "method.losses", "method.consolidation", "method.methods", "method.training.loop",
    "library.given_pairs", "library.testing", "library.saving", "library.finetuning", "library.generating",
    "library.transformers_models",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    for path in _MODULES if name in __all__ else ():
        module = import_module(f"gift_core.{path}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module 'gift_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
