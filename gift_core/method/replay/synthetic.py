"""Replay of the synthetic pairs of the stage synthesize, and of those of earlier steps: replay.images: synthetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.artifacts.prompt_files import VOCABULARY_STAGES, read_vocabulary
from gift_core.artifacts.shards import MANIFEST, Pair, iterate_pairs
from gift_core.method.replay.pairs import PairedStepReplay
from gift_core.method.replay.source import hash_of

if TYPE_CHECKING:
    from gift_core.config.replay_options import SyntheticReplayConfig  # noqa: F401


class SyntheticReplay(PairedStepReplay["SyntheticReplayConfig"]):
    """The step's own pairs, and those of the `keep_earlier` steps before, whose keys begin with their task."""

    def pairs(self) -> Iterator[Pair]:
        """Yields the pairs of the step, then those of the steps before."""
        yield from self.pairs_of_step()
        for shards in self._kept:
            for pair in iterate_pairs(shards):
                yield replace(pair, key=f"{shards.name}/{pair.key}")

    def pairs_of_step(self) -> Iterator[Pair]:
        """Yields the pairs of the step alone."""
        return iterate_pairs(self.source.shards)

    def hashes(self) -> dict[str, str]:
        """A manifest holds the hash of every shard."""
        own = {"shards": hash_of(self.source.shards / MANIFEST, "synthesize")}
        kept = {f"shards {folder.name}": hash_of(folder / MANIFEST, "synthesize") for folder in self._kept}
        return own | kept | {"vocabulary": hash_of(self.source.vocabulary, VOCABULARY_STAGES)}

    def texts(self) -> list[str]:
        """Returns the class names of the vocabulary, each in its first template."""
        entries = read_vocabulary(self.source.vocabulary)
        return [entry.templates[0].replace("{}", entry.class_name) for entry in entries]

    @property
    def _kept(self) -> tuple[Path, ...]:
        return self.source.earlier[: self.options.keep_earlier]
