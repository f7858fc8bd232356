"""What every kind of replay has: the data of a step, and the teacher, which is a model before the task or a mix."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch

from gift_core.artifacts.contract import require_file, sha256_of
from gift_core.artifacts.model_folder import noted_hash
from gift_core.clip.model import Clip, load_folder
from gift_core.computation import Compute, State, UnitRunner
from gift_core.method.averaging import interpolate
from gift_core.method.pair_features import ReplayBatch
from gift_core.torch_devices import set_up_device

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
    load = partial(load_folder, device=set_up_device(device), precision=precision)
    clip = load(initial if options.teacher == "initial" else previous)
    if options.teacher == "mix":
        assert options.teacher_alpha is not None, "checked when params.yaml is read"
        weights: list[torch.Tensor] = list(clip.model.parameters())
        averaged = interpolate(weights, list(load(initial).model.parameters()), alpha=options.teacher_alpha)
        with torch.no_grad():
            torch._foreach_copy_(weights, averaged)
    return clip


O = TypeVar("O")  # noqa: E741


class Replay(Protocol):
    """Batches of replayed images and texts."""

    def sample(self, iteration: int) -> ReplayBatch:
        """Returns the batch of iteration `iteration`."""


@dataclass(frozen=True)
class ReplaySource:
    """Where the replay of one step lies.

    `tasks`: folders of all tasks so far, the new one last. `shards`: the step's synthetic pairs. `earlier`: those of
    the steps before, the latest first. `vocabulary`: the file of the class names that the step's prompts are sampled
    from. `teacher`: the folder that the stage teach writes for this step. `teacher_before`: the same of the step
    before. `root`: the folder that a reference folder is relative to. `key`: the method's key in params.yaml, for
    errors.
    """

    root: Path
    tasks: tuple[Path, ...]
    shards: Path
    earlier: tuple[Path, ...]
    vocabulary: Path
    teacher: Path
    teacher_before: Path
    key: str


@dataclass(frozen=True)
class Sampling:
    """How images and texts are taken, the same for all methods.

    `batch_size`: of fine-tuning, and the pairs that Fisher information contrasts. `encode_batch_size`: of the teacher.
    `names` name the seed.
    """

    batch_size: int
    encode_batch_size: int
    names: tuple[str | int, ...]


@dataclass(frozen=True)
class StepReplay(Generic[O]):
    """The replay of one step: `options` are the method's section replay, `source` says where the data lie.

    This is the replay of nothing. The stage teach then writes nothing but source.json.
    """

    options: O
    source: ReplaySource
    sampling: Sampling

    def hashes(self) -> dict[str, str]:
        """Returns the SHA-256 of what is read, by name."""
        return {}

    def encode_with(self, teacher: Teacher, folder: Path, run: UnitRunner) -> str:
        """Writes what fine-tuning needs of the teacher into `folder`. Returns a summary of it."""
        return "no replay"

    def load(self, clip: Clip, taken: Collection[str]) -> Replay | None:
        """Returns the batches for losses that take these features; None where nothing is replayed."""
        return None


def hash_of(path: Path, stage: str) -> str:
    """Returns the SHA-256 of a file; ContractError, which names the stage that writes it, if it is missing."""
    require_file(path, stage)
    return sha256_of(path)
