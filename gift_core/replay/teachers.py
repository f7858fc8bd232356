"""The teacher: the model before the task, the pre-trained model, or a mix of their weights, and its features of pairs.

M pairs, P prompts, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gift_core.artifacts.features import Features
from gift_core.artifacts.model_folder import model_hash
from gift_core.artifacts.shards import Pair
from gift_core.averaging import interpolate
from gift_core.clip.encoding import stream_image_features, text_features
from gift_core.clip.images import in_memory
from gift_core.clip.model import Clip, load_folder
from gift_core.errors import UserError
from gift_core.progress import progress

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


def encode_pairs(clip: Clip, pairs: Iterable[Pair], *, batch_size: int, metadata: Mapping[str, str]) -> Features:
    """Returns the teacher's unit features of every pair, in the order of `pairs`.

    The images go through the evaluation transform, so their features are constant for the task. Each distinct prompt is
    encoded once. `metadata` is stored with the features, together with the precision. UserError without pairs.
    """
    listed = list(pairs)
    if not listed:
        raise UserError("teach: there are no pairs to replay. Run stage synthesize for this task.")
    clip.model.eval()
    images = (in_memory(pair.image) for pair in progress(listed, len(listed), "images"))
    image_MD = stream_image_features(clip, images, batch_size=batch_size)
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(pair.prompt for pair in listed))}
    text_PD = text_features(clip, list(numbers), batch_size=batch_size)
    text_MD = text_PD[[numbers[pair.prompt] for pair in listed]]
    return Features(
        keys=tuple(pair.key for pair in listed),
        image_MD=image_MD.numpy(),
        text_MD=text_MD.cpu().numpy(),
        metadata={**metadata, "precision": clip.precision},
    )
