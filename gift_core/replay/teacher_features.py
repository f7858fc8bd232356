"""The teacher's features of many images and texts, of which an interrupted run may have computed the first ones.

M pairs, N images or texts, P distinct prompts, L tokens, D features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

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
from gift_core.replay.image_blocks import ROWS, Encoded, ImageBlocks


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
    return _encoded(clip, listed, len(listed), batch_size, metadata, snapshot)[0]


def encode_pairs_and_vocabulary(
    clip: Clip,
    pairs: Iterable[Pair],
    texts: Iterable[str],
    *,
    count: int,
    batch_size: int,
    metadata: Mapping[str, str],
    snapshot: Callable[[str], Snapshot] = lambda part: NOT_KEPT,
    blocks: ImageBlocks | None = None,
) -> tuple[Features, TextFeatures]:
    """Returns the features of the pairs, and those of the texts: the distinct prompts, then the distinct other `texts`.

    There are `count` pairs. They are read one after another, so that only a few images are in memory. With `blocks`,
    which read the same pairs, helpers encode some of them where there are many.
    """
    features, prompts = _encoded(clip, pairs, count, batch_size, metadata, snapshot, blocks)
    first = first_rows(prompts)
    vocabulary = tuple(dict.fromkeys([*first, *texts]))
    tokens_PL = tokenize(clip, list(vocabulary))
    others = tokens_PL[len(first) :]
    other_PD = resumed_token_features(clip, others, batch_size=batch_size, snapshot=snapshot("vocabulary"))
    text_PD = np.concatenate([features.text_MD[list(first.values())], other_PD.numpy()])
    return features, TextFeatures(vocabulary, tokens_PL.cpu().numpy(), text_PD, features.metadata)


def _encoded(
    clip: Clip,
    pairs: Iterable[Pair],
    count: int,
    batch_size: int,
    metadata: Mapping[str, str],
    snapshot: Callable[[str], Snapshot],
    blocks: ImageBlocks | None = None,
) -> tuple[Features, list[str]]:
    """The features of the pairs, and their prompts."""
    if not count:
        raise UserError("teach: there are no pairs to replay. Run stage synthesize for this task.")
    clip.model.eval()
    if blocks is not None and blocks.can_be_shared(count, batch_size):
        encoded = blocks.encode(clip, count, batch_size=batch_size, snapshot=snapshot("images"))
    else:
        encoded = _encoded_in_turn(clip, pairs, count, batch_size, snapshot("images"))
    keys, prompts = [key for key, _ in encoded.names], [prompt for _, prompt in encoded.names]
    numbers = {prompt: number for number, prompt in enumerate(first_rows(prompts))}
    tokens_PL = tokenize(clip, list(numbers))
    text_PD = resumed_token_features(clip, tokens_PL, batch_size=batch_size, snapshot=snapshot("texts"))
    text_MD = text_PD[[numbers[prompt] for prompt in prompts]]
    metadata = {**metadata, "precision": clip.precision}
    return Features(tuple(keys), encoded.image_ND, text_MD.numpy(), metadata), prompts


def _encoded_in_turn(clip: Clip, pairs: Iterable[Pair], count: int, batch_size: int, snapshot: Snapshot) -> Encoded:
    names: list[tuple[str, str]] = []

    def reads() -> Iterator[Read]:
        for pair in pairs:
            names.append((pair.key, pair.prompt))
            yield in_memory(pair.image)

    images = reads()
    image_MD = resumed_image_features(clip, images, count=count, batch_size=batch_size, snapshot=snapshot)
    deque(images, maxlen=0)  # an interrupted run may have encoded all of them
    return Encoded(names, image_MD.numpy())


def first_rows(texts: Iterable[str]) -> dict[str, int]:
    """Returns the first row of each distinct text, in the order of their appearance."""
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        rows.setdefault(text, row)
    return rows


def resumed_image_features(
    clip: Clip,
    images: Iterable[Read],
    *,
    count: int,
    batch_size: int,
    snapshot: Snapshot,
    description: str = "images",
) -> torch.Tensor:
    """Returns unit features [N, D] of `count` encoded images on the CPU; `snapshot` may hold the first rows."""

    def batches(done: int) -> Iterator[torch.Tensor]:
        reads = progress(islice(images, done, None), count, description, done=done)
        return image_feature_batches(clip, reads, batch_size=batch_size)

    return _resumed(batches, count, snapshot, description, clip.embedding_size)


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
