"""Unpaired replay: batches of images against texts that are not theirs, such as class prompts or random tokens.

N images, P texts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gift_core.artifacts.features import ImageFeatures, TextFeatures
from gift_core.clip.batches import Share, ShuffledIndices, all_rows, placed
from gift_core.clip.device import to_device
from gift_core.clip.encoding import causal_tower, end_positions, trim_rows
from gift_core.clip.images import CacheBudget, PixelCache, Read, evaluation_preparation, normalize
from gift_core.clip.model import Clip
from gift_core.errors import ContractError, UserError
from gift_core.replay.pairs import ReplayBatch
from gift_core.seeds import seed_for

KEY = "replay.texts: random_tokens"


class UnpairedReplay:
    """Batches of images under the evaluation transform, in seeded epochs. Every batch comes with all P texts.

    Images are decoded when they are sampled, and cached as far as `cache_budget` permits.
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
        share: Share = all_rows,
    ) -> None:
        if len(images) != len(image_features.keys):
            raise ContractError(
                f"image_features.parquet has {len(image_features.keys)} images, but the replay has {len(images)}. "
                "Run the stage teach again for this step."
            )
        self._clip, self._share = clip, share
        self._store = PixelCache(images, evaluation_preparation(clip), cache_budget)
        self._tokens_PL = trim_rows(clip.model, torch.tensor(text_features.tokens_PL)).to(clip.device)
        self._teacher_image_ND = torch.tensor(image_features.image_ND, device=clip.device)
        self._teacher_text_PD = torch.tensor(text_features.text_PD, device=clip.device)
        self._indices = ShuffledIndices(len(images), batch_size, (*names, "replay"))

    def sample(self, iteration: int) -> tuple[ReplayBatch, ...]:
        """Returns the images of iteration `iteration`, and all texts."""
        chosen = torch.from_numpy(self._indices.sample(iteration))
        own = self._share(len(chosen))
        pixels_MCHW = to_device(torch.stack(self._store.fetch(chosen[own].tolist())), self._clip.device)
        batch = ReplayBatch(
            images_MCHW=placed(normalize(self._clip, pixels_MCHW), own, len(chosen)),
            tokens_ML=self._tokens_PL,
            prompt_ids_M=torch.arange(len(self._tokens_PL), device=self._clip.device),
            teacher_image_MD=self._teacher_image_ND[to_device(chosen, self._clip.device)],
            teacher_text_MD=self._teacher_text_PD,
        )
        return (batch,)


def random_token_rows(clip: Clip, count: int, length: int, names: tuple[str | int, ...]) -> torch.Tensor:
    """Returns int64 [P, L] on the model's device: `count` different rows of a start, `length` random and an end token.

    The tokens are uniform over the vocabulary without start, end and padding. `names` name the seed. Rows are padded
    and trimmed as in encoding.tokenize. Source: VR-LwF (Ding et al. 2022); the baseline LwF-VR in ZSCL uses 1,000 rows
    of 10 tokens. UserError where a row does not fit in the context, where fewer different rows exist, and where the
    text tower does not read its feature at the end token.
    """
    tower = causal_tower(clip.model)
    if tower is None:
        raise _no_end_token()
    empty_L = clip.tokenizer([""])[0]
    if length + 2 > len(empty_L):
        needed = f"{length} tokens with start and end need {length + 2} positions, but the context has {len(empty_L)}"
        raise UserError(f"{KEY}: {needed}. Set length to {len(empty_L) - 2} or less.")
    ordinary = np.setdiff1d(np.arange(tower.token_embedding.num_embeddings), empty_L.numpy())
    words = _sample_different(ordinary, count, length, np.random.default_rng(seed_for(*names, "random tokens")))
    rows_PL = _between_start_and_end(empty_L, torch.from_numpy(words))
    ends_P = end_positions(clip.model, rows_PL)
    if ends_P is None or not bool((ends_P == length + 1).all()):
        raise _no_end_token()
    return trim_rows(clip.model, rows_PL).to(clip.device)


def _sample_different(ordinary: np.ndarray, count: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """int64 [count, length] of `ordinary` tokens. A row that was sampled before is sampled again."""
    if len(ordinary) ** length < count:
        kinds = f"only {len(ordinary) ** length} different rows of {length} tokens exist"
        raise UserError(f"{KEY}: count is {count}, but {kinds}. Lower count or raise length.")
    rows: dict[tuple[int, ...], None] = {}
    while len(rows) < count:
        sampled = ordinary[generator.integers(len(ordinary), size=(count - len(rows), length))]
        rows |= dict.fromkeys(map(tuple, sampled.tolist()))
    return np.array(list(rows), dtype=np.int64)


def _between_start_and_end(empty_L: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Full rows with the start, end and padding of the empty text's row, which is [start, end, padding ...]."""
    count, length = words.shape
    rows_PL = empty_L.repeat(count, 1)
    rows_PL[:, 1 : length + 1] = words
    rows_PL[:, length + 1] = empty_L[1]
    rows_PL[:, length + 2 :] = empty_L[-1]
    return rows_PL


def _no_end_token() -> UserError:
    needs = "needs a text tower with causal attention that reads its feature at the end token, like CLIP's"
    return UserError(f"{KEY}: it {needs}. This model's text tower is different. Set replay.texts.kind to classes.")
