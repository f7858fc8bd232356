"""The ways to merge the weights of several models, each a function of one tensor of every model.

Some are about changes: what training added to the weights of a common base. torch is not imported, so that
`gift merge` checks its options before it loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

BASE = "base"  # the option of the kinds that merge changes


def mean(weights: Sequence[Tensor]) -> Tensor:
    """Returns the mean of the weights (Wortsman et al. 2022, Model soups)."""
    return _sum(weights) / len(weights)


def interpolate(weights: Sequence[Tensor], *, alpha: float) -> Tensor:
    """Returns alpha * the second + (1 - alpha) * the first (Wortsman et al. 2022, WiSE-FT)."""
    start, new = weights
    return start.lerp(new, alpha)


def task_arithmetic(changes: Iterable[Tensor], *, weight: Sequence[float]) -> Tensor:
    """Returns the sum of the changes, each times its weight (Ilharco et al. 2023, Task arithmetic)."""
    return _sum(factor * change for factor, change in zip(weight, changes, strict=True))


def ties(changes: Sequence[Tensor], *, smallest: Sequence[float], scale: float) -> Tensor:
    """Returns the mean of the large changes that agree on the sign (Yadav et al. 2023, TIES-Merging).

    Trim: changes below their model's `smallest` become 0. Elect: the sign of the sum. Merge: the mean of those with it.
    # differs: where the sum is exactly 0, the official code takes the most frequent sign in the model.
    """

    def trimmed() -> Iterator[Tensor]:  # computed again each time: a copy of all changes would double the memory
        pairs = zip(changes, smallest, strict=True)
        return (change.where(change.abs() >= least, 0.0) for change, least in pairs)

    elected = _sum(trimmed()).sign()
    total = _sum(change.where(change.sign() == elected, 0.0) for change in trimmed())
    return scale * total / _sum((change.sign() == elected).float() for change in trimmed()).clamp(min=1)


def magmax(changes: Sequence[Tensor], *, scale: float) -> Tensor:
    """Returns the largest change of each weight, by magnitude (Marczak et al. 2024, MagMax)."""
    return scale * reduce(lambda largest, change: change.where(change.abs() > largest.abs(), largest), changes)


# By the value of `gift merge --kind`: the function, and the options that it takes.
KINDS: Mapping[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "interpolate": (interpolate, ("alpha",)),
    "mean": (mean, ()),
    "task_arithmetic": (task_arithmetic, (BASE, "weight")),
    "ties": (ties, (BASE, "keep", "scale")),
    "magmax": (magmax, (BASE, "scale")),
}


DEFAULTS: Mapping[str, Any] = {"scale": 1.0, "keep": 0.2}  # the other options have to be given


def complete_options(kind: str, given: Mapping[str, Any], *, models: int) -> dict[str, Any]:
    """Returns the options of `kind`: those that are given, and defaults for the others. None is "not given".

    UserError for a number of models or an option that does not fit the kind, and for a missing option.
    """
    _, taken = KINDS[kind]
    chosen = {name: value for name, value in given.items() if value is not None}
    options = {**DEFAULTS, **chosen}
    if models < 2 or (kind == "interpolate" and models != 2):
        needed = "exactly two" if kind == "interpolate" else "at least two"
        raise UserError(f"merge --kind {kind}: {models} given, it takes {needed} models. Name their folders or files.")
    wrong = [f"--{name} is missing" for name in taken if name not in options]
    wrong += [f"--{name} is not for this kind" for name in chosen if name not in taken]
    if wrong:
        known = ", ".join(f"--{name}" for name in taken) or "no options"
        raise UserError(f"merge --kind {kind}: {wrong[0]}. It takes {known}.")
    weights = options.get("weight", ())
    if len(weights) not in (0, 1, models):
        raise UserError(f"merge --weight: {len(weights)} given for {models} models. Give one for each.")
    options["weight"] = [*weights] * (models if len(weights) == 1 else 1)
    return {name: options[name] for name in taken}


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return reduce(lambda total, tensor: total + tensor, tensors)
