"""GIFT as a library: everything the stages call, and nothing that knows of DVC or the command line.

`import gift_core` imports nothing else. The names of __all__ are loaded when they are first used, and are what other
projects can rely on (docs/library.md). The modules behind them may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gift_core.errors import GiftError, UserError
    from gift_core.library.finetuning import Training, finetune, method_row, released
    from gift_core.library.given_pairs import estimate_fisher
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
    "learning_rates",
    "method_row",
    "released",
    "task_loss",
]
_MODULES = {
    "method.averaging": ("Interpolation", "RunningMean"),
    "method.consolidation": ("AdaptiveFisher", "Consolidation", "FrozenFisher", "StaticFisher", "Uniform"),
    "errors": ("GiftError", "UserError"),
    "library.finetuning": ("Training", "finetune", "method_row", "released"),
    "library.given_pairs": ("estimate_fisher",),
    "method.methods": ("WeightedLoss", "distill_entropy"),
    "method.losses": tuple(name for name in __all__ if name in ("align", "task_loss") or name.startswith("distill")),
    "method.training.loop": ("learning_rates",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"gift_core.{module}"), name)
    raise AttributeError(f"module 'gift_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
