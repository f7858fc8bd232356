"""Replay of the synthetic pairs of the stage synthesize, and of those of earlier steps: replay.images: synthetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.artifacts.features import TEXT_FEATURES, TextFeatures, read_text_features, write_text_features
from gift_core.artifacts.prompt_files import VOCABULARY_STAGES, read_vocabulary
from gift_core.artifacts.shards import MANIFEST, Pair, iterate_pairs, read_manifest
from gift_core.computation import Run
from gift_core.replay.paired import PairedStepReplay, write_pairs
from gift_core.replay.prompts import vocabulary_texts
from gift_core.replay.source import ROW_BYTES, hash_of
from gift_core.replay.teachers import Teacher

if TYPE_CHECKING:
    from gift_core.config.method_options import LossesConfig, SyntheticReplayConfig  # noqa: F401


class SyntheticReplay(PairedStepReplay["SyntheticReplayConfig"]):
    """The step's own pairs, and those of the `keep_earlier` steps before, whose keys begin with their task."""

    def pairs(self, first: int = 0) -> Iterator[Pair]:
        """Yields the pairs of the step, then those of the steps before."""
        skipped = first and min(first, _images_in(self.source.shards))
        yield from self.own_pairs(skipped)
        for shards, prompts in self._kept:
            first -= skipped
            skipped = first and min(first, _images_in(shards))
            for pair in iterate_pairs(shards, prompts, first=skipped):
                yield replace(pair, key=f"{shards.name}/{pair.key}")

    def own_pairs(self, first: int = 0) -> Iterator[Pair]:
        """Yields the pairs of the step alone."""
        return iterate_pairs(self.source.shards, self.source.prompts, first=first)

    def count(self) -> int:
        """Returns the number of pairs, by the manifests. ContractError for a damaged one."""
        return sum(map(_images_in, [self.source.shards, *(shards for shards, _ in self._kept)]))

    def hashes(self) -> dict[str, str]:
        """A manifest holds the hash of every shard."""
        own = {"shards": hash_of(self.source.shards / MANIFEST, "synthesize")}
        kept = {f"shards {folder.name}": hash_of(folder / MANIFEST, "synthesize") for folder, _ in self._kept}
        return own | kept | {"vocabulary": hash_of(self.source.vocabulary, VOCABULARY_STAGES)}

    def feature_bytes(self, feature: int) -> int:
        """Adds the most texts that the vocabulary can have: the prompt of each pair may be one of its own."""
        texts = self.count() + len(read_vocabulary(self.source.vocabulary))
        return super().feature_bytes(feature) + texts * (feature + ROW_BYTES)

    def encode(self, teacher: Teacher, folder: Path, run: Run) -> str:
        """Writes the features of the pairs, and text_features.parquet: their prompts, then the other class names."""
        texts = vocabulary_texts(read_vocabulary(self.source.vocabulary))
        features, vocabulary = self.encoder(teacher, run).with_vocabulary(teacher.clip, texts, {"model": teacher.model})
        write_text_features(folder / TEXT_FEATURES, vocabulary)
        return f"{write_pairs(folder, features)}, {len(vocabulary.texts)} texts in the vocabulary"

    def vocabulary(self, losses: LossesConfig) -> TextFeatures | None:
        """Returns the features of the whole vocabulary if a loss needs them."""
        return read_text_features(self.source.teacher / TEXT_FEATURES) if losses.need_vocabulary else None

    @property
    def _kept(self) -> tuple[tuple[Path, Path], ...]:
        return self.source.earlier[: self.options.keep_earlier]


def _images_in(shards: Path) -> int:
    return int(read_manifest(shards)["images"])
