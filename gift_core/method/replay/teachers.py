"""The teacher: the model before the task, the pre-trained model, or a mix of their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gift_core.artifacts.model_folder import noted_hash
from gift_core.clip.device import resolve_device
from gift_core.clip.model import Clip, load_folder
from gift_core.computation import Compute, State
from gift_core.method.averaging import interpolate

if TYPE_CHECKING:
    from gift_core.config.replay_options import TaughtReplay


@dataclass(frozen=True)
class Teacher:
    """The frozen model, and a text that identifies it: its hash, or the hashes and shares of a mix.

    `load_clip` loads the same model in another process, so that helpers can encode, too. None: no helpers.
    """

    clip: Clip
    model: str
    load_clip: Callable[[], Clip] | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """What is stored with features: the model, and the precision they were computed in."""
        return {"model": self.model, "precision": self.clip.precision}


def load_teacher(
    options: TaughtReplay, *, previous: Path, initial: Path, device: torch.device, precision: str
) -> Teacher:
    """Returns the teacher that `options` ask for; `previous` and `initial` are folders of models."""
    load = partial(_load, options, previous, initial, str(device), precision)
    return Teacher(load(), teacher_identity(options, previous=previous, initial=initial), load)


def teacher_identity(options: TaughtReplay, *, previous: Path, initial: Path) -> str:
    """Returns what identifies the teacher, by the hashes that the models' folders note. No weights are read."""
    if options.teacher == "mix":
        return f"{options.teacher_alpha:g} * {noted_hash(previous)} + the rest * {noted_hash(initial)}"
    return noted_hash({"previous": previous, "initial": initial}[options.teacher])


def loaded(load_clip: Callable[[], Clip], compute: Callable[..., State], *arguments: Any) -> Compute[Any]:
    """Returns `compute` with the model as its first argument, and then `arguments`. For another process."""
    return partial(compute, load_clip(), *arguments)


def _load(options: TaughtReplay, previous: Path, initial: Path, device: str, precision: str) -> Clip:
    """Here and in other processes."""
    load = partial(load_folder, device=resolve_device(device), precision=precision)
    clip = load(initial if options.teacher == "initial" else previous)
    if options.teacher == "mix":
        assert options.teacher_alpha is not None, "checked when params.yaml is read"
        weights: list[torch.Tensor] = list(clip.model.parameters())
        averaged = interpolate(weights, list(load(initial).model.parameters()), alpha=options.teacher_alpha)
        with torch.no_grad():
            torch._foreach_copy_(weights, averaged)
    return clip
