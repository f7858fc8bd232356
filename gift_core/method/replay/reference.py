"""Replay of a user's folder of images, each with a text file of its caption: replay.images: reference."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.artifacts.shards import Pair
from gift_core.computation import UnitRunner
from gift_core.datasets.image_captions import iterate_folder, require_readable
from gift_core.method.replay.pairs import PairedStepReplay
from gift_core.method.replay.source import Teacher

if TYPE_CHECKING:
    from gift_core.config.replay_options import ReferenceReplayConfig  # noqa: F401


class ReferenceReplay(PairedStepReplay["ReferenceReplayConfig"]):
    """The pairs of a folder, sorted by path, which is also a pair's key."""

    def pairs(self) -> Iterator[Pair]:
        """Yields the pairs. UserError as in iterate_folder."""
        return iterate_folder(self._folder, self._key)

    def hashes(self) -> dict[str, str]:
        """Returns a hash of the keys, prompts and images."""
        digest = hashlib.sha256()
        for pair in self.pairs():
            digest.update(f"{pair.key}\n{pair.prompt}\n{hashlib.sha256(pair.image).hexdigest()}\n".encode())
        return {"reference": digest.hexdigest()}

    def teach(self, teacher: Teacher, folder: Path, run: UnitRunner) -> str:
        """As for all pairs. UserError names an image that cannot be decoded."""
        try:
            return super().teach(teacher, folder, run)
        except (OSError, SyntaxError):  # Pillow's errors do not name the file
            require_readable(self._folder, self._key)
            raise

    @property
    def _folder(self) -> Path:
        return self.source.root / self.options.folder

    @property
    def _key(self) -> str:
        return f"{self.source.key}.replay.folder"
