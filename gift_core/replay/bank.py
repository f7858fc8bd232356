"""Batches of replayed images against a bank of texts that are not theirs.  N images, P texts, L tokens, D features."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gift_core.artifacts.embeddings import ImageFeatures, TextFeatures
from gift_core.clip.batches import ShuffledIndices
from gift_core.clip.device import to_device
from gift_core.clip.encoding import trim_rows
from gift_core.clip.images import CacheBudget, PixelCache, Read, evaluation_preparation, normalize
from gift_core.clip.model import Clip
from gift_core.errors import ContractError
from gift_core.replay.pairs import ReplayBatch


class BankReplay:
    """Images under the evaluation transform, drawn in seeded epochs; every batch comes with all P texts.

    The images are decoded when drawn, and kept as far as `allowance` goes.
    """

    def __init__(
        self,
        clip: Clip,
        images: Sequence[Read],
        image_features: ImageFeatures,
        text_features: TextFeatures,
        *,
        batch_size: int,
        names: tuple[str | int, ...],
        cache_budget: CacheBudget,
    ) -> None:
        if len(images) != len(image_features.keys):
            raise ContractError(
                f"image_features.parquet holds {len(image_features.keys)} images, there are {len(images)}. "
                "Run stage teach again for this step."
            )
        self._clip = clip
        self._store = PixelCache(images, evaluation_preparation(clip), cache_budget)
        self._tokens_PL = trim_rows(clip.model, torch.tensor(text_features.tokens_PL)).to(clip.device)
        self._teacher_image_ND = torch.tensor(image_features.image_ND, device=clip.device)
        self._teacher_text_PD = torch.tensor(text_features.text_PD, device=clip.device)
        self._indices = ShuffledIndices(len(images), batch_size, (*names, "replay"))

    def draw(self, step: int) -> tuple[ReplayBatch, ...]:
        """The images of step `step`, and all texts."""
        chosen = torch.from_numpy(self._indices.draw(step))
        pixels_MCHW = to_device(torch.stack(self._store.fetch(chosen.tolist())), self._clip.device)
        batch = ReplayBatch(
            images_MCHW=normalize(self._clip, pixels_MCHW),
            tokens_ML=self._tokens_PL,
            prompt_ids_M=torch.arange(len(self._tokens_PL), device=self._clip.device),
            teacher_image_MD=self._teacher_image_ND[to_device(chosen, self._clip.device)],
            teacher_text_MD=self._teacher_text_PD,
        )
        return (batch,)
