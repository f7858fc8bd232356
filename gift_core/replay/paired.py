"""What replays of images with their own texts share: what the stage teach writes, and how it is loaded again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gift_core.artifacts.features import FEATURES, Features, TextFeatures, read_features, write_features
from gift_core.artifacts.fisher_file import FISHER, Fisher, read_fisher, write_fisher
from gift_core.artifacts.shards import Pair
from gift_core.clip.batches import Share, all_rows
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import Clip
from gift_core.computation import Run
from gift_core.replay.fisher import added, fisher_of_pairs
from gift_core.replay.pairs import PairReplay
from gift_core.replay.source import ROW_BYTES, StepReplay
from gift_core.replay.teacher_features import PairEncoder
from gift_core.replay.teachers import Teacher

if TYPE_CHECKING:
    from gift_core.config.method_options import FisherConfig, LossesConfig
    from gift_core.config.method_options import PairedReplay as PairedOptions

P = TypeVar("P", bound="PairedOptions")


class PairedStepReplay(StepReplay[P]):
    """Pairs (image, prompt), of which Fisher information can be estimated, too."""

    @abstractmethod
    def pairs(self, first: int = 0) -> Iterator[Pair]:
        """Yields the pairs in their order, but the `first` ones."""

    @abstractmethod
    def count(self) -> int:
        """Returns the number of pairs."""

    def own_pairs(self, first: int = 0) -> Iterator[Pair]:
        """Yields the pairs of this step alone, but the `first` ones."""
        return self.pairs(first)

    def feature_bytes(self, feature: int) -> int:
        """An image and a text feature for each pair."""
        return self.count() * (2 * feature + ROW_BYTES)

    def teach(self, teacher: Teacher, folder: Path, run: Run) -> str:
        """Writes the features of the pairs, and Fisher diagonals if the options ask for them."""
        summary = self.encode(teacher, folder, run)
        return summary if self.options.fisher is None else self._teach_fisher(self.options.fisher, teacher, folder, run)

    def encode(self, teacher: Teacher, folder: Path, run: Run) -> str:
        """Writes features.parquet. Returns a summary of it."""
        return write_pairs(folder, self.encoder(teacher, run).features(teacher.clip, {"model": teacher.model}))

    def encoder(self, teacher: Teacher, run: Run) -> PairEncoder:
        """Returns what encodes the pairs."""
        return PairEncoder(self.pairs, self.count(), self.source.encode_batch_size, run, teacher.load_clip)

    def load(self, clip: Clip, losses: LossesConfig, share: Share = all_rows) -> PairReplay:
        """Returns the pairs with their features."""
        return PairReplay(
            clip,
            self.pairs(),
            read_features(self.source.teacher / FEATURES),
            batch_size=self.source.batch_size,
            names=self.source.names,
            cache_budget=CacheBudget(),
            vocabulary=self.vocabulary(losses),
            share=share,
        )

    def vocabulary(self, losses: LossesConfig) -> TextFeatures | None:
        """Returns the features of texts besides the prompts of the pairs."""
        return None

    def _teach_fisher(self, options: FisherConfig, teacher: Teacher, folder: Path, run: Run) -> str:
        diagonals = fisher_of_pairs(
            teacher.clip,
            self.own_pairs,
            estimator=options.estimator,
            batch_size=self.source.batch_size,
            run=run,
            load_clip=teacher.load_clip,
        )
        if options.accumulate and len(self.source.tasks) > 1:
            diagonals = added(diagonals, read_fisher(self.source.teacher_before / FISHER).diagonals)
        write_fisher(folder / FISHER, Fisher(diagonals, options.estimator, teacher.model))
        return f"Fisher diagonals ({options.estimator}) of {len(diagonals)} tensors"


def write_pairs(folder: Path, features: Features) -> str:
    """Writes features.parquet: an image and a text feature for each pair. Returns a summary of it."""
    write_features(folder / FEATURES, features.keys, features.image_MD, features.text_MD, features.metadata)
    return f"{len(features.keys)} pairs, {features.image_MD.shape[1]} numbers each"
