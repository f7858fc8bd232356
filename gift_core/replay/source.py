"""Where the data lie that one step of a method replays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gift_core.artifacts.atomic import require_file, sha256_of
from gift_core.artifacts.snapshot import NOT_KEPT, Snapshot
from gift_core.clip.batches import Share, all_rows
from gift_core.clip.model import Clip


def not_kept(part: str) -> Snapshot:
    """Returns a snapshot that keeps nothing."""
    return NOT_KEPT


@dataclass(frozen=True)
class ReplaySource:
    """Where the replay of one step lies, and how it is sampled.

    `tasks`: folders of all tasks so far, the new one last. `shards`: the step's synthetic pairs. `prompts`: the file of
    their prompts. `earlier`: shards and prompts of the steps before, the latest first. `vocabulary`: the file of the
    class names that the step's prompts are sampled from. `teacher`: the folder that the stage teach writes for this
    step. `teacher_before`: the same of the step before. `root`: the folder that a reference folder is relative to.
    `key`: the method's key in params.yaml, for errors. `teacher_model`: what identifies the teacher
    (teachers.teacher_identity), empty without replay. `snapshot` returns that of a part of the stage teach by the
    part's name. `share`: the images of a batch that this process decodes. `load_clip` loads the teacher's model in
    another process, so that helpers can encode as well (gift_core.spread). None: no helpers.
    """

    root: Path
    tasks: tuple[Path, ...]
    shards: Path
    prompts: Path
    earlier: tuple[tuple[Path, Path], ...]
    vocabulary: Path
    teacher: Path
    teacher_before: Path
    batch_size: int
    encode_batch_size: int
    names: tuple[str | int, ...]
    key: str
    teacher_model: str
    snapshot: Callable[[str], Snapshot] = not_kept
    share: Share = all_rows
    load_clip: Callable[[], Clip] | None = None

    @property
    def portable(self) -> ReplaySource:
        """The same without what stays in this process, to be sent to helpers."""
        return replace(self, snapshot=not_kept, load_clip=None)


def hash_of(path: Path, stage: str) -> str:
    """Returns the SHA-256 of a file; ContractError, which names the stage that writes it, if it is missing."""
    require_file(path, stage)
    return sha256_of(path)
