"""Unpaired replay: batches of images against texts that are not theirs, such as class prompts or random tokens.

N images, P texts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from gift_core.artifacts.teacher_files import (
    IMAGE_FEATURES,
    TEXT_FEATURES,
    ImageFeatures,
    TextFeatures,
    read_features,
    write_features,
)
from gift_core.clip.batches import ShuffledIndices, normalized_share
from gift_core.clip.encoding import trim_rows
from gift_core.clip.images import CacheBudget, PixelCache, Read, evaluation_preparation
from gift_core.clip.model import Clip
from gift_core.computation import UnitRunner
from gift_core.errors import ContractError
from gift_core.method.pair_features import ReplayBatch
from gift_core.method.replay.source import O, Sampling, StepReplay, Teacher
from gift_core.method.replay.teacher_features import features_of_images, features_of_texts
from gift_core.torch_devices import to_device


class UnpairedReplay:
    """Batches of images under the evaluation transform, in seeded epochs. Every batch comes with all P texts.

    Images are decoded when they are sampled, and cached as far as CacheBudget permits.
    """

    def __init__(
        self,
        clip: Clip,
        images: Sequence[Read],
        image_features: ImageFeatures,
        text_features: TextFeatures,
        sampling: Sampling,
    ) -> None:
        if len(images) != len(image_features.keys):
            raise ContractError(
                f"image_features.parquet has {len(image_features.keys)} images, but the replay has {len(images)}. "
                "Run the stage teach again for this step."
            )
        self._clip = clip
        self._store = PixelCache(images, evaluation_preparation(clip), CacheBudget())
        self._tokens_PL = trim_rows(clip.model, torch.tensor(text_features.tokens_PL)).to(clip.device)
        self._teacher_image_ND = torch.tensor(image_features.image_ND, device=clip.device)
        self._teacher_text_PD = torch.tensor(text_features.text_PD, device=clip.device)
        self._indices = ShuffledIndices(len(images), sampling.batch_size, (*sampling.names, "replay"))

    def sample(self, iteration: int) -> ReplayBatch:
        chosen = torch.from_numpy(self._indices.sample(iteration))
        return ReplayBatch(
            images_MCHW=normalized_share(self._clip, self._store, chosen),
            tokens_ML=self._tokens_PL,
            prompt_ids_M=torch.arange(len(self._tokens_PL), device=self._clip.device),
            teacher_image_MD=self._teacher_image_ND[to_device(chosen, self._clip.device)],
            teacher_text_MD=self._teacher_text_PD,
        )


class UnpairedStepReplay(StepReplay[O]):
    """What replays of images against other texts share: what the stage teach writes, and how it is loaded again."""

    def write(
        self,
        teacher: Teacher,
        folder: Path,
        run: UnitRunner,
        images: Sequence[Read],
        texts: list[str],
        tokens_PL: torch.Tensor,
    ) -> str:
        """Writes the teacher's features of the images and of the token rows of the texts. Returns a summary of it."""
        clip, size = teacher.clip, self.sampling.encode_batch_size
        image_ND = features_of_images(clip, images, batch_size=size, run=run).numpy()
        text_PD = features_of_texts(clip, tokens_PL, batch_size=size, run=run).numpy()
        keys = tuple(f"{row:08d}" for row in range(len(image_ND)))
        write_features(folder / IMAGE_FEATURES, ImageFeatures(keys, image_ND, teacher.metadata))
        rows = TextFeatures(tuple(texts), tokens_PL.cpu().numpy(), text_PD, teacher.metadata)
        write_features(folder / TEXT_FEATURES, rows)
        return f"{len(image_ND)} images and {len(texts)} texts, {image_ND.shape[1]} numbers each"

    def batches(self, clip: Clip, images: Sequence[Read]) -> UnpairedReplay:
        """Returns the images against the texts that `write` wrote."""
        image_features = read_features(self.source.teacher / IMAGE_FEATURES, ImageFeatures)
        text_features = read_features(self.source.teacher / TEXT_FEATURES, TextFeatures)
        return UnpairedReplay(clip, images, image_features, text_features, self.sampling)
