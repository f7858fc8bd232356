"""A method for the library: a name of the paper's preset, or a row as in params.yaml, with losses of your own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from gift_core.artifacts.model_folder import ENTROPY, LOSS_FIELDS
from gift_core.config.checks import check_lengths, check_trains
from gift_core.config.loading import parse_part
from gift_core.config.method_options import MethodConfig
from gift_core.config.presets import load_preset
from gift_core.config.section import MAX_RATE, MIN_RATE
from gift_core.errors import UserError, lookup
from gift_core.library.given_model import NAME, require_number
from gift_core.method.losses import Loss
from gift_core.method.methods import Method, WeightedLoss, build_method
from gift_core.method.pair_features import FEATURES
from gift_core.shipped import shipped_root

PAPER_PRESET = shipped_root() / "presets" / "mtil_order_1.yaml"
RATE = 1e-5  # of the paper, for rows without one
GIVEN = ("none", "synthetic", "reference")  # replays whose pairs a caller can give
OTHER_COLUMNS = {*LOSS_FIELDS, "consolidation", "skipped"}  # of a row of the log, which no loss may be named
FROM_LIBRARY = {"images": "synthetic", "teacher": "previous"}


@dataclass(frozen=True)
class GivenMethod:
    """A method, its learning rate, and the teacher that its row asks for (previous: the model before training)."""

    method: Method
    learning_rate: float
    teacher: str


def method_row(name: str) -> dict[str, Any]:
    """Returns a method's row in the paper's preset as a dictionary of your own, to change and to pass to `finetune`.

    `method_row("gift")["consolidation"]` is {"kind": "adaptive_fisher", "weight": 1.0}. docs/methods.md explains the
    slots. UserError with the nearest name for an unknown one.
    """
    methods = load_preset(PAPER_PRESET).methods
    row: dict[str, Any] = lookup(methods, name, f"{NAME}: method").model_dump(mode="json", exclude_none=True)
    return row


def given_method(
    method: str | Mapping[str, Any],
    iterations: int,
    learning_rate: float | None,
    fisher: Mapping[str, torch.Tensor] | None,
) -> GivenMethod:
    """Returns the method by its name, or that of a row.

    A row has the slots of docs/methods.md, which may all be left out. In `losses` a value may be a WeightedLoss, and
    `consolidation` may be a function from the trainable parameters to a Consolidation. UserError for anything else that
    does not fit, and for methods that take more than pairs.
    """
    if learning_rate is not None:
        require_number("learning_rate", learning_rate, MIN_RATE, MAX_RATE, example=1e-5)
    row = method_row(method) if isinstance(method, str) else dict(method)
    losses, consolidation = row.get("losses") or {}, row.get("consolidation") or {"kind": "none"}
    own = {name: loss for name, loss in losses.items() if isinstance(loss, WeightedLoss)}
    known = {name: options for name, options in losses.items() if name not in own}
    row |= {"losses": known, "consolidation": {"kind": "none"} if callable(consolidation) else consolidation}
    defaults = {"learning_rate": RATE, "replay": FROM_LIBRARY if known else {"images": "none"}}
    config = parse_part(MethodConfig, defaults | row, location=("methods", "row"), name=NAME, key="method")
    _require_possible(config, replays=bool(losses), fisher=fisher, iterations=iterations)
    for name, loss in own.items():
        _require_features(name, loss.function)
        _require_features(name, loss.entropy or loss.function)
    built = build_method(config, fisher=fisher)
    every = {**built.losses, **own}
    built = replace(built, losses={name: every[name] for name in losses})
    if callable(consolidation):
        built = replace(built, build_consolidation=consolidation)
    rate = learning_rate or config.learning_rate or RATE
    return GivenMethod(built, rate, getattr(config.replay, "teacher", "previous"))


def _require_possible(
    config: MethodConfig, *, replays: bool, fisher: Mapping[str, torch.Tensor] | None, iterations: int
) -> None:
    """Raises UserError for what the library does not do, and for slots that do not fit each other."""
    images, consolidation = config.replay.images, config.consolidation
    problems = {
        f"learns: {config.learns}": config.learns != "task" and LEARNS[config.learns],
        "release": config.release is not None and RELEASE,
        f"replay.images: {images}": replays and images not in GIVEN and OTHER_IMAGES,
        f"consolidation.kind: {consolidation.kind}": (consolidation.needs_losses and not replays and NO_LOSSES)
        or (consolidation.needs_fisher and not fisher and NO_FISHER),
    }
    for key, problem in problems.items():
        if problem:
            raise UserError(f"{NAME}: method.{key}: {problem}")
    if fisher is not None and not consolidation.needs_fisher:
        raise UserError(f"{NAME}: fisher: {UNUSED_FISHER}")
    for key, what in (*check_lengths("method", config, iterations), *check_trains("method", config)):
        raise UserError(f"{NAME}: {key}: {what}")


LEARNS = {
    "nothing": "there is nothing to train. Use the model as it is.",
    "seen": "one loader is one task here. Pass a loader of all tasks and all their prompts, with method='finetune'.",
}
RELEASE = (
    "finetune trains `model`, and the next task goes on from it. Leave this slot out, and make a copy to hand out: "
    "gift_core.released(model, pretrained, alpha=0.85)."
)
OTHER_IMAGES = (
    "the library replays the pairs that you give. Write a row with the method's losses and pass its images with their "
    "texts as `pairs`, or use the pipeline."
)
NO_LOSSES = "it uses the gradients of the replay losses, and there are none. Add a loss, or use uniform or none."
UNUSED_FISHER = "the method does not use it. Leave it out, or use consolidation static_fisher."
NO_FISHER = "it uses Fisher information. Pass fisher=gift_core.estimate_fisher(model, tokenizer, pairs)."


def _require_features(name: str, function: Loss) -> None:
    """Raises UserError if the loss's name cannot be a column, or a parameter is neither a feature nor has a default."""
    if name.endswith(ENTROPY) or not name.isidentifier() or name in OTHER_COLUMNS:
        what = f"a loss needs a name like my_loss, without {ENTROPY} at its end"
        raise UserError(f"{NAME}: method.losses.{name}: {what}, and not {', '.join(sorted(OTHER_COLUMNS))}.")
    parameters = inspect.signature(function).parameters.values()
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    required = [each.name for each in parameters if each.default is each.empty and each.kind not in variable]
    unknown = [each for each in required if each not in FEATURES]
    if unknown:
        what = f"the parameter {unknown[0]} is no feature and has no default. Features: {', '.join(FEATURES)}"
        raise UserError(f"{NAME}: method.losses.{name}: {what}. Rename it, or bind it with functools.partial.")
