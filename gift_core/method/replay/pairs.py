"""Replay of images with their own texts: what the stage teach writes, and batches with the teacher's features.

The pairs are those of the stage synthesize (replay.images: synthetic), or of a user's folder (reference).
M pairs of a batch, N pairs in all, P prompts, L tokens, C channels, H W pixels, D features.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from gift_core.artifacts.prompt_files import VOCABULARY_STAGES, read_vocabulary
from gift_core.artifacts.shards import MANIFEST, Pair, columns_of, iterate_pairs
from gift_core.artifacts.teacher_files import (
    FEATURES,
    FISHER,
    TEXT_FEATURES,
    Features,
    Fisher,
    TextFeatures,
    read_features,
    read_fisher,
    write_features,
    write_fisher,
)
from gift_core.clip.batches import ShuffledIndices, normalized_share
from gift_core.clip.encoding import tokenize
from gift_core.clip.images import CacheBudget, PixelCache, evaluation_preparation
from gift_core.clip.model import Clip
from gift_core.computation import UnitRunner
from gift_core.datasets.image_captions import iterate_folder, require_readable
from gift_core.errors import ContractError
from gift_core.method.pair_features import ReplayBatch
from gift_core.method.replay.fisher import fisher_of_pairs
from gift_core.method.replay.source import Sampling, StepReplay, Teacher, hash_of
from gift_core.method.replay.teacher_features import encode_pairs, encode_vocabulary, first_rows
from gift_core.torch_devices import to_device

if TYPE_CHECKING:
    from gift_core.config.replay_options import PairedReplay, ReferenceReplayConfig, SyntheticReplayConfig  # noqa: F401

P = TypeVar("P", bound="PairedReplay")
AGAIN = "Run the stage teach again for this step."


class PairedStepReplay(StepReplay[P]):
    """Pairs (image, prompt), of which Fisher information can be estimated, too."""

    @abstractmethod
    def pairs(self) -> Iterator[Pair]:
        """Yields the pairs in their order."""

    def pairs_of_step(self) -> Iterator[Pair]:
        """Yields the pairs of this step alone."""
        return self.pairs()

    def encode_with(self, teacher: Teacher, folder: Path, run: UnitRunner) -> str:
        """Writes the features of the pairs and of the vocabulary, and Fisher diagonals if the options ask for them."""
        size = self.sampling.encode_batch_size
        texts = self.texts()
        features, prompts = encode_pairs(teacher, self.pairs(), batch_size=size, run=run)
        write_features(folder / FEATURES, features)
        summary = f"{len(features.keys)} pairs, {features.image_MD.shape[1]} numbers each"
        if texts is not None:
            vocabulary = encode_vocabulary(teacher, features, prompts, texts, batch_size=size, run=run)
            write_features(folder / TEXT_FEATURES, vocabulary)
            summary += f", {len(vocabulary.texts)} texts in the vocabulary"
        fisher = self.options.fisher
        if fisher is None:
            return summary
        _, prompts, images = columns_of(self.pairs_of_step())
        diagonals = fisher_of_pairs(
            teacher.clip,
            prompts,
            images,
            estimator=fisher.estimator,
            batch_size=self.sampling.batch_size,
            run=run,
            load_clip=teacher.load_clip,
        )
        if fisher.accumulate and len(self.source.tasks) > 1:
            earlier = read_fisher(self.source.teacher_before / FISHER).diagonals
            diagonals = {name: diagonal + earlier[name] for name, diagonal in diagonals.items()}  # as in EWC
        write_fisher(folder / FISHER, Fisher(diagonals, fisher.estimator, teacher.model))
        return f"Fisher diagonals ({fisher.estimator}) of {len(diagonals)} tensors"

    def load(self, clip: Clip, taken: Collection[str]) -> PairReplay:
        """Returns the pairs with their features, and those of the whole vocabulary if a loss takes them."""
        has_vocabulary = "vocabulary_text_PD" in taken and self.texts() is not None
        features = read_features(self.source.teacher / FEATURES, Features)
        vocabulary = read_features(self.source.teacher / TEXT_FEATURES, TextFeatures) if has_vocabulary else None
        return PairReplay(clip, self.pairs(), features, self.sampling, vocabulary=vocabulary)

    def texts(self) -> list[str] | None:
        """Returns the texts that belong to the vocabulary besides the prompts of the pairs; None: there are none."""
        return None


class SyntheticReplay(PairedStepReplay["SyntheticReplayConfig"]):
    """The synthetic pairs of the step, and of the `keep_earlier` steps before, whose keys begin with their task."""

    def pairs(self) -> Iterator[Pair]:
        """Yields the pairs of the step, then those of the steps before."""
        yield from self.pairs_of_step()
        for shards in self._kept:
            for pair in iterate_pairs(shards):
                yield replace(pair, key=f"{shards.name}/{pair.key}")

    def pairs_of_step(self) -> Iterator[Pair]:
        return iterate_pairs(self.source.shards)

    def hashes(self) -> dict[str, str]:
        """A manifest holds the hash of every shard."""
        of_step = {"shards": hash_of(self.source.shards / MANIFEST, "synthesize")}
        kept = {f"shards {folder.name}": hash_of(folder / MANIFEST, "synthesize") for folder in self._kept}
        return of_step | kept | {"vocabulary": hash_of(self.source.vocabulary, VOCABULARY_STAGES)}

    def texts(self) -> list[str]:
        """Returns the class names of the vocabulary, each in its first template."""
        entries = read_vocabulary(self.source.vocabulary)
        return [entry.templates[0].replace("{}", entry.class_name) for entry in entries]

    @property
    def _kept(self) -> tuple[Path, ...]:
        return self.source.earlier[: self.options.keep_earlier]


class ReferenceReplay(PairedStepReplay["ReferenceReplayConfig"]):
    """The pairs of a folder of images, each with a text file of its caption, sorted by path, which is a pair's key."""

    def pairs(self) -> Iterator[Pair]:
        return iterate_folder(self._folder, self._key)

    def hashes(self) -> dict[str, str]:
        digest = hashlib.sha256()
        for pair in self.pairs():
            digest.update(f"{pair.key}\n{pair.prompt}\n{hashlib.sha256(pair.image).hexdigest()}\n".encode())
        return {"reference": digest.hexdigest()}

    def encode_with(self, teacher: Teacher, folder: Path, run: UnitRunner) -> str:
        """As for all pairs. UserError names an image that cannot be decoded."""
        try:
            return super().encode_with(teacher, folder, run)
        except (OSError, SyntaxError):  # Pillow's errors do not name the file
            require_readable(self._folder, self._key)
            raise

    @property
    def _folder(self) -> Path:
        return self.source.root / self.options.folder

    @property
    def _key(self) -> str:
        return f"{self.source.key}.replay.folder"


class PairReplay:
    """Batches of (image, prompt) pairs under the evaluation transform, in seeded epochs.

    Images are decoded and cached as far as CacheBudget permits. The others are read again and decoded when they are
    sampled. The vocabulary is `vocabulary`, or the distinct prompts of the pairs. ContractError where `features` or
    `vocabulary` are those of other pairs.
    """

    def __init__(
        self,
        clip: Clip,
        pairs: Iterable[Pair],
        features: Features,
        sampling: Sampling,
        *,
        vocabulary: TextFeatures | None = None,
    ) -> None:
        keys, prompts, images = columns_of(pairs)
        rows, first = _rows_of(features, keys), first_rows(prompts)
        numbers = {prompt: number for number, prompt in enumerate(first)}
        text_PD = features.text_MD[[rows[row] for row in first.values()]]
        if vocabulary is not None:
            _require_beginning(vocabulary, list(first))
            text_PD = vocabulary.text_PD
        self._clip = clip
        self._store = PixelCache(images, evaluation_preparation(clip), CacheBudget())
        self._prompt_ids_N = torch.tensor([numbers[prompt] for prompt in prompts], device=clip.device)
        self._tokens_PL = tokenize(clip, list(first))
        self._teacher_image_ND = torch.from_numpy(features.image_MD[rows]).to(clip.device)
        self._teacher_text_PD = torch.tensor(text_PD, device=clip.device)
        self._indices = ShuffledIndices(len(keys), sampling.batch_size, (*sampling.names, "replay"))

    def sample(self, iteration: int) -> ReplayBatch:
        chosen = torch.from_numpy(self._indices.sample(iteration))
        on_device = to_device(chosen, self._clip.device)
        prompt_ids_M = self._prompt_ids_N[on_device]
        return ReplayBatch(
            images_MCHW=normalized_share(self._clip, self._store, chosen),
            tokens_ML=self._tokens_PL[prompt_ids_M],
            prompt_ids_M=prompt_ids_M,
            teacher_image_MD=self._teacher_image_ND[on_device],
            teacher_text_MD=self._teacher_text_PD[prompt_ids_M],
            vocabulary_text_PD=self._teacher_text_PD,
            all_image_ND=self._teacher_image_ND,
            image_ids_M=on_device,
        )


def _rows_of(features: Features, keys: Sequence[str]) -> list[int]:
    """The row of each pair in the features, which should have all of them and no others."""
    row_of = {key: row for row, key in enumerate(features.keys)}
    missing = [key for key in keys if key not in row_of]
    if missing or len(row_of) != len(keys):
        without = ", ".join(missing[:3]) or "none"
        problem = f"features.parquet has {len(row_of)} pairs, but the replay has {len(keys)}"
        raise ContractError(f"{problem}. Pairs without features: {without}. {AGAIN}")
    return [row_of[key] for key in keys]


def _require_beginning(vocabulary: TextFeatures, prompts: Sequence[str]) -> None:
    """Raises ContractError unless the vocabulary begins with the different prompts of the pairs, in their order."""
    texts = list(vocabulary.texts)
    if texts[: len(prompts)] != list(prompts):
        problem = f"text_features.parquet should begin with the {len(prompts)} different prompts of the pairs"
        raise ContractError(f"{problem}. It begins with {', '.join(map(repr, texts[:3]))}. {AGAIN}")
