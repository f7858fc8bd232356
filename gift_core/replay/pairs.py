"""Batches of replayed pairs and the teacher's word on them.  M pairs, L tokens, C channels, H W pixels, D features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from gift_core.artifacts.features import Features
from gift_core.artifacts.shards import Pair
from gift_core.clip.batches import ShuffledIndices
from gift_core.clip.device import to_device
from gift_core.clip.encoding import tokenize
from gift_core.clip.images import CacheBudget, PixelCache, evaluation_preparation, normalize
from gift_core.clip.model import Clip
from gift_core.errors import ContractError


@dataclass(frozen=True)
class ReplayBatch:
    """M pairs: normalised images, token rows, which prompts are the same, and the teacher's unit features.

    Where images and texts are no pairs, tokens, prompt ids and text features have a row a text instead.
    """

    images_MCHW: torch.Tensor
    tokens_ML: torch.Tensor
    prompt_ids_M: torch.Tensor
    teacher_image_MD: torch.Tensor
    teacher_text_MD: torch.Tensor


class Replay(Protocol):
    """The pairs that protect the past."""

    def draw(self, step: int) -> tuple[ReplayBatch, ...]:
        """The batch of step `step` as a tuple of one, or nothing to replay."""
        ...


class NoReplay:
    """The null object: only the task itself is seen."""

    def draw(self, step: int) -> tuple[ReplayBatch, ...]:
        """Nothing."""
        return ()


class PairReplay:
    """(image, prompt) pairs under the evaluation transform, drawn in seeded epochs.

    As many as `allowance` holds are decoded at once; the others stay encoded, and are decoded when drawn.
    """

    def __init__(
        self,
        clip: Clip,
        pairs: Iterable[Pair],
        features: Features,
        *,
        batch_size: int,
        names: tuple[str | int, ...],
        cache_budget: CacheBudget,
    ) -> None:
        keys: list[str] = []
        prompts: list[str] = []

        def images() -> Iterator[bytes]:
            for pair in pairs:
                keys.append(pair.key)
                prompts.append(pair.prompt)
                yield pair.image

        self._clip = clip
        self._store = PixelCache.filled(images(), evaluation_preparation(clip), cache_budget)
        rows = _rows_of(features, keys)
        numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        self._prompt_ids_N = torch.tensor([numbers[prompt] for prompt in prompts], device=clip.device)
        self._tokens_PL = tokenize(clip, list(numbers))
        self._teacher_image_ND = torch.from_numpy(features.image_MD[rows]).to(clip.device)
        self._teacher_text_ND = torch.from_numpy(features.text_MD[rows]).to(clip.device)
        self._indices = ShuffledIndices(len(keys), batch_size, (*names, "replay"))

    def draw(self, step: int) -> tuple[ReplayBatch, ...]:
        """The M pairs of step `step`."""
        chosen = torch.from_numpy(self._indices.draw(step))
        on_device = to_device(chosen, self._clip.device)
        pixels_MCHW = to_device(torch.stack(self._store.fetch(chosen.tolist())), self._clip.device)
        prompt_ids_M = self._prompt_ids_N[on_device]
        batch = ReplayBatch(
            images_MCHW=normalize(self._clip, pixels_MCHW),
            tokens_ML=self._tokens_PL[prompt_ids_M],
            prompt_ids_M=prompt_ids_M,
            teacher_image_MD=self._teacher_image_ND[on_device],
            teacher_text_MD=self._teacher_text_ND[on_device],
        )
        return (batch,)


def _rows_of(features: Features, keys: list[str]) -> list[int]:
    """Row of each key in `features`; both must hold exactly the same pairs."""
    row_of = {key: row for row, key in enumerate(features.keys)}
    missing = [key for key in keys if key not in row_of]
    if missing or len(row_of) != len(keys):
        raise ContractError(
            f"features.parquet holds {len(row_of)} pairs, the shards {len(keys)}; without features: {missing[:3]}. "
            "Run stage teach again for this step."
        )
    return [row_of[key] for key in keys]
