"""Batches of replayed pairs with the teacher's features.

M pairs of a batch, N pairs in all, P prompts, L tokens, C channels, H W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch

from gift_core.artifacts.features import Features, TextFeatures
from gift_core.artifacts.shards import Pair
from gift_core.clip.batches import Share, ShuffledIndices, all_rows, placed
from gift_core.clip.device import to_device
from gift_core.clip.encoding import tokenize
from gift_core.clip.images import CacheBudget, PixelCache, Read, evaluation_preparation, normalize
from gift_core.clip.model import Clip
from gift_core.errors import ContractError
from gift_core.pair_features import ReplayBatch
from gift_core.replay.teacher_features import first_rows


class Replay(Protocol):
    """Batches of replayed images and texts."""

    def sample(self, iteration: int) -> tuple[ReplayBatch, ...]:
        """Returns the batch of iteration `iteration` in a tuple, or an empty tuple without replay."""
        ...


class NoReplay:
    """No replay: training uses the task's images only."""

    def sample(self, iteration: int) -> tuple[ReplayBatch, ...]:
        """Returns an empty tuple."""
        return ()


class PairReplay:
    """Batches of (image, prompt) pairs under the evaluation transform, in seeded epochs.

    Images are decoded and cached as far as `cache_budget` permits. The others are read again and decoded when they are
    sampled. The vocabulary is `vocabulary`, or the distinct prompts of the pairs. ContractError where `features` or
    `vocabulary` are those of other pairs.
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
        vocabulary: TextFeatures | None = None,
        share: Share = all_rows,
    ) -> None:
        keys: list[str] = []
        prompts: list[str] = []

        def images() -> Iterator[tuple[bytes, Read | None]]:
            for pair in pairs:
                keys.append(pair.key)
                prompts.append(pair.prompt)
                yield pair.image, pair.read_again

        self._clip, self._share = clip, share
        self._store = PixelCache.filled(images(), evaluation_preparation(clip), cache_budget)
        rows = _rows_of(features, keys)
        first = first_rows(prompts)
        numbers = {prompt: number for number, prompt in enumerate(first)}
        self._prompt_ids_N = torch.tensor([numbers[prompt] for prompt in prompts], device=clip.device)
        self._tokens_PL = tokenize(clip, list(numbers))
        self._teacher_image_ND = torch.from_numpy(features.image_MD[rows]).to(clip.device)
        if vocabulary is None:
            text_PD = features.text_MD[[rows[row] for row in first.values()]]
        else:
            _require_prompts_first(vocabulary.texts, list(numbers))
            text_PD = vocabulary.text_PD
        self._teacher_text_PD = torch.tensor(text_PD, device=clip.device)
        self._indices = ShuffledIndices(len(keys), batch_size, (*names, "replay"))

    def sample(self, iteration: int) -> tuple[ReplayBatch, ...]:
        """Returns the M pairs of iteration `iteration`."""
        chosen = torch.from_numpy(self._indices.sample(iteration))
        on_device = to_device(chosen, self._clip.device)
        own = self._share(len(chosen))
        pixels_MCHW = to_device(torch.stack(self._store.fetch(chosen[own].tolist())), self._clip.device)
        prompt_ids_M = self._prompt_ids_N[on_device]
        batch = ReplayBatch(
            images_MCHW=placed(normalize(self._clip, pixels_MCHW), own, len(chosen)),
            tokens_ML=self._tokens_PL[prompt_ids_M],
            prompt_ids_M=prompt_ids_M,
            teacher_image_MD=self._teacher_image_ND[on_device],
            teacher_text_MD=self._teacher_text_PD[prompt_ids_M],
            vocabulary_text_PD=self._teacher_text_PD,
            all_image_ND=self._teacher_image_ND,
            image_ids_M=on_device,
        )
        return (batch,)


def _require_prompts_first(texts: Sequence[str], prompts: list[str]) -> None:
    if list(texts[: len(prompts)]) != prompts:
        raise ContractError(
            f"text_features.parquet should begin with the {len(prompts)} different prompts of the pairs, in their "
            f"order. It begins with {', '.join(map(repr, texts[:3]))}. Run the stage teach again for this step."
        )


def _rows_of(features: Features, keys: list[str]) -> list[int]:
    """The row of each key in `features`. Both must hold exactly the same pairs."""
    row_of = {key: row for row, key in enumerate(features.keys)}
    missing = [key for key in keys if key not in row_of]
    if missing or len(row_of) != len(keys):
        raise ContractError(
            f"features.parquet has {len(row_of)} pairs, but the replay has {len(keys)}. Pairs without features: "
            f"{', '.join(missing[:3]) or 'none'}. Run the stage teach again for this step."
        )
    return [row_of[key] for key in keys]
