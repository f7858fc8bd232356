"""Where the data lie that one step of a method replays, and what every kind of replay does with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from gift_core.artifacts.contract import require_file, sha256_of
from gift_core.clip.model import Clip
from gift_core.computation import UnitRunner
from gift_core.method.pair_features import ReplayBatch
from gift_core.method.replay.teachers import Teacher

if TYPE_CHECKING:
    from gift_core.config.method_options import LossesConfig

O = TypeVar("O")  # noqa: E741


class Replay(Protocol):
    """Batches of replayed images and texts."""

    def sample(self, iteration: int) -> ReplayBatch:
        """Returns the batch of iteration `iteration`."""
        ...


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

    def teach(self, teacher: Teacher, folder: Path, run: UnitRunner) -> str:
        """Writes what fine-tuning needs of the teacher into `folder`. Returns a summary of it."""
        return "no replay"

    def load(self, clip: Clip, losses: LossesConfig) -> Replay | None:
        """Returns the batches for fine-tuning with these losses; None where nothing is replayed."""
        return None


def hash_of(path: Path, stage: str) -> str:
    """Returns the SHA-256 of a file; ContractError, which names the stage that writes it, if it is missing."""
    require_file(path, stage)
    return sha256_of(path)
