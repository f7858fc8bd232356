"""The teacher's features of many images and texts, of which an interrupted run may have computed the first ones.

M pairs, N images or texts, P distinct prompts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch

from gift_core.artifacts.features import Features, TextFeatures
from gift_core.artifacts.shards import Pair
from gift_core.artifacts.snapshot import NOT_KEPT, Saved, Snapshot
from gift_core.clip.encoding import image_feature_batches, token_feature_batches, tokenize
from gift_core.clip.images import Read, in_memory
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.progress import progress

ROWS = "rows"


def encode_pairs(
    clip: Clip,
    pairs: Iterable[Pair],
    *,
    batch_size: int,
    metadata: Mapping[str, str],
    snapshot: Callable[[str], Snapshot] = lambda part: NOT_KEPT,
) -> Features:
    """Returns the teacher's unit features of every pair, in the order of `pairs`.

    The images go through the evaluation transform, so their features are constant for the task. Each distinct prompt is
    encoded once. `metadata` is stored with the features, together with the precision. UserError without pairs.
    """
    listed = list(pairs)
    if not listed:
        raise UserError("teach: there are no pairs to replay. Run stage synthesize for this task.")
    clip.model.eval()
    images = [in_memory(pair.image) for pair in listed]
    image_MD = resumed_image_features(clip, images, batch_size=batch_size, snapshot=snapshot("images"))
    numbers = {prompt: number for number, prompt in enumerate(first_rows(pair.prompt for pair in listed))}
    tokens_PL = tokenize(clip, list(numbers))
    text_PD = resumed_token_features(clip, tokens_PL, batch_size=batch_size, snapshot=snapshot("texts"))
    text_MD = text_PD[[numbers[pair.prompt] for pair in listed]]
    return Features(
        keys=tuple(pair.key for pair in listed),
        image_MD=image_MD.numpy(),
        text_MD=text_MD.numpy(),
        metadata={**metadata, "precision": clip.precision},
    )


def encode_vocabulary(
    clip: Clip,
    prompts: Sequence[str],
    features: Features,
    others: Iterable[str],
    *,
    batch_size: int,
    snapshot: Snapshot = NOT_KEPT,
) -> TextFeatures:
    """Returns the teacher's unit features of the distinct prompts, then of the distinct texts in `others` beside them.

    `prompts` are those of the pairs of which `features` are, so only the other texts are encoded.
    """
    first = first_rows(prompts)
    texts = tuple(dict.fromkeys([*first, *others]))
    tokens_PL = tokenize(clip, list(texts))
    other_PD = resumed_token_features(clip, tokens_PL[len(first) :], batch_size=batch_size, snapshot=snapshot)
    text_PD = np.concatenate([features.text_MD[list(first.values())], other_PD.numpy()])
    return TextFeatures(texts, tokens_PL.cpu().numpy(), text_PD, features.metadata)


def first_rows(texts: Iterable[str]) -> dict[str, int]:
    """Returns the first row of each distinct text, in the order of their appearance."""
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        rows.setdefault(text, row)
    return rows


def resumed_image_features(
    clip: Clip, images: Sequence[Read], *, batch_size: int, snapshot: Snapshot, description: str = "images"
) -> torch.Tensor:
    """Returns unit features [N, D] of encoded images on the CPU, of which `snapshot` may hold the first rows."""

    def batches(done: int) -> Iterator[torch.Tensor]:
        reads = progress(images[done:], len(images), description, done=done)
        return image_feature_batches(clip, reads, batch_size=batch_size)

    return _resumed(batches, len(images), snapshot, description, clip.embedding_size)


def resumed_token_features(clip: Clip, tokens_NL: torch.Tensor, *, batch_size: int, snapshot: Snapshot) -> torch.Tensor:
    """Returns unit features [N, D] of token rows on the CPU, of which `snapshot` may hold the first rows."""

    def batches(done: int) -> Iterator[torch.Tensor]:
        return (part.cpu() for part in token_feature_batches(clip, tokens_NL[done:], batch_size=batch_size))

    return _resumed(batches, len(tokens_NL), snapshot, "texts", clip.embedding_size)


def _resumed(
    batches: Callable[[int], Iterator[torch.Tensor]], count: int, snapshot: Snapshot, description: str, size: int
) -> torch.Tensor:
    """`count` rows. `batches(done)` yields those after the first `done`, in the batches of a run from the start."""
    saved = snapshot.read()
    rows = [torch.empty(0, size) if saved is None else saved.tensors[ROWS]]
    done = len(rows[0])
    if done:
        snapshot.say(f"{description}: continues at {done} of {count}")
    if done < count:
        for batch_ND in batches(done):
            rows.append(batch_ND)
            snapshot.keep(lambda: Saved({ROWS: torch.cat(rows)}, {}))
    return torch.cat(rows)
