"""The teacher: the model before the task, the pre-trained model, or a mix of their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gift_core.artifacts.model_folder import model_hash
from gift_core.averaging import interpolate
from gift_core.clip.model import Clip, load_folder

if TYPE_CHECKING:
    from gift_core.config.method_options import TaughtReplay


@dataclass(frozen=True)
class Teacher:
    """The frozen model, and a text that identifies it: its hash, or the hashes and shares of a mix."""

    clip: Clip
    model: str


def load_teacher(
    options: TaughtReplay, *, previous: Path, initial: Path, device: torch.device, precision: str
) -> Teacher:
    """Returns the teacher that `options` ask for; `previous` and `initial` are folders of models."""

    def load(folder: Path) -> Clip:
        return load_folder(folder, device=device, precision=precision)

    return TEACHERS[options.teacher](options, previous, initial, load)


def _previous(options: TaughtReplay, previous: Path, initial: Path, load: Callable[[Path], Clip]) -> Teacher:
    return Teacher(load(previous), model_hash(previous))


def _initial(options: TaughtReplay, previous: Path, initial: Path, load: Callable[[Path], Clip]) -> Teacher:
    return Teacher(load(initial), model_hash(initial))


def _mix(options: TaughtReplay, previous: Path, initial: Path, load: Callable[[Path], Clip]) -> Teacher:
    assert options.teacher_alpha is not None, "checked when params.yaml is read"
    clip, old = load(previous), load(initial)
    weights: list[torch.Tensor] = list(clip.model.parameters())
    averaged = interpolate(weights, list(old.model.parameters()), alpha=options.teacher_alpha)
    with torch.no_grad():
        torch._foreach_copy_(weights, averaged)
    return Teacher(clip, f"{options.teacher_alpha:g} * {model_hash(previous)} + the rest * {model_hash(initial)}")


# By the name of replay.teacher in params.yaml.
TEACHERS: Mapping[str, Callable[[TaughtReplay, Path, Path, Callable[[Path], Clip]], Teacher]] = {
    "previous": _previous,
    "initial": _initial,
    "mix": _mix,
}
