"""Texts that nobody wrote: random token rows, which stand for all language (LwF-VR).  P rows, L tokens."""

from __future__ import annotations

import numpy as np
import torch

from gift_core.clip.encoding import causal_tower, end_positions, trim_rows
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.seeds import seed_for

PLACE = "replay.texts: random_tokens"


def random_token_rows(clip: Clip, count: int, length: int, names: tuple[str | int, ...]) -> torch.Tensor:
    """int64 [P, L] on the model's device: `count` different rows of a start, `length` random and an end token.

    The tokens are uniform over the vocabulary without start, end and padding, drawn by the seed named `names`. Rows are
    padded and cut as encoding.tokenize does. Source: VR-LwF (Ding et al. 2022); the baseline LwF-VR of ZSCL takes 1,000
    rows of 10. UserError where a row doesn't fit into the context, where there are fewer different rows, and where the
    text tower doesn't read its feature at the end token.
    """
    tower = causal_tower(clip.model)
    if tower is None:
        raise _no_end_token()
    empty_L = clip.tokenizer([""])[0]
    if length + 2 > len(empty_L):
        needed = f"{length} tokens with start and end need {length + 2} places, the text tower has {len(empty_L)}"
        raise UserError(f"{PLACE}: {needed}. Ask for {len(empty_L) - 2} at most.")
    ordinary = np.setdiff1d(np.arange(tower.token_embedding.num_embeddings), empty_L.numpy())
    words = _draw_different(ordinary, count, length, np.random.default_rng(seed_for(*names, "random tokens")))
    rows_PL = _between_start_and_end(empty_L, torch.from_numpy(words))
    ends_P = end_positions(clip.model, rows_PL)
    if ends_P is None or not bool((ends_P == length + 1).all()):
        raise _no_end_token()
    return trim_rows(clip.model, rows_PL).to(clip.device)


def _draw_different(ordinary: np.ndarray, count: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """int64 [count, length] of `ordinary` tokens, rows all different: a row that came before is drawn again."""
    if len(ordinary) ** length < count:
        kinds = f"of {len(ordinary)} tokens there are {len(ordinary) ** length} rows of {length}"
        raise UserError(f"{PLACE}: {count} different rows are asked for, {kinds}. Ask for fewer or longer ones.")
    rows: dict[tuple[int, ...], None] = {}
    while len(rows) < count:
        drawn = ordinary[generator.integers(len(ordinary), size=(count - len(rows), length))]
        rows |= dict.fromkeys(map(tuple, drawn.tolist()))
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
    needs = "needs a text tower that attends backwards alone and reads its feature at the end token, as CLIP's does"
    return UserError(f"{PLACE} {needs}; this model's does not. Choose texts of kind classes.")
