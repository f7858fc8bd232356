"""The teacher's features of many pairs, in blocks of whole batches that helpers encode as well (gift_core.spread).

A block has the same batches whoever encodes it, and they are those of a run without helpers. So are the features.
N images, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch

from gift_core.artifacts.shards import Pair
from gift_core.artifacts.snapshot import Saved, Snapshot
from gift_core.clip.encoding import image_feature_batches
from gift_core.clip.images import Read, in_memory
from gift_core.clip.model import Clip
from gift_core.progress import progress_bar
from gift_core.spread import offered, spread

BATCHES = 64  # of a block: 16,384 images in batches of 256, which is all that a step of the miniature replays
ROWS = "rows"
PairsFrom = Callable[[int], Iterator[Pair]]  # yields the pairs from the one with this number on


@dataclass(frozen=True)
class Encoded:
    """(key, prompt) of consecutive pairs, and the unit features of their images, float32 [N, D]."""

    names: list[tuple[str, str]]
    image_ND: np.ndarray


@dataclass(frozen=True)
class ImageBlocks:
    """How blocks of pairs are read, and how a helper loads the teacher's model."""

    pairs_from: PairsFrom
    load_clip: Callable[[], Clip]

    def can_be_shared(self, count: int, batch_size: int) -> bool:
        """Whether helpers are offered, and the `count` pairs are more than one block."""
        return offered() is not None and count > BATCHES * batch_size

    def encode(self, clip: Clip, count: int, *, batch_size: int, snapshot: Snapshot) -> Encoded:
        """Returns what the `count` pairs are, with their features. `snapshot` may hold those of the first ones."""
        saved = snapshot.read()
        done = 0 if saved is None else len(saved.tensors[ROWS])
        found: dict[range, Encoded] = {}
        if saved is not None and done:
            snapshot.say(f"images: continues at {done} of {count}")
            names = [(pair.key, pair.prompt) for pair in islice(self.pairs_from(0), done)]
            found[range(done)] = Encoded(names, saved.tensors[ROWS].numpy())
        size = BATCHES * batch_size
        blocks = [range(start, min(start + size, count)) for start in range(done, count, size)]
        load = partial(_load, self.load_clip, self.pairs_from, batch_size)
        with progress_bar(count, "images", done=done) as bar:

            def take(block: range, encoded: Encoded) -> None:
                found[block] = encoded
                bar.update(len(block))

            with spread(blocks, load, take=take, say=snapshot.say) as work:
                for block in work:
                    take(block, encode_block(clip, self.pairs_from, block, batch_size=batch_size))
                    snapshot.keep(lambda: Saved({ROWS: torch.from_numpy(_joined(_first(found)).image_ND)}, {}))
        return _joined([found[block] for block in sorted(found, key=lambda block: block.start)])


def _load(load_clip: Callable[[], Clip], pairs_from: PairsFrom, batch_size: int) -> Callable[[range], Encoded]:
    """In a helper: returns what encodes a block."""
    clip = load_clip()
    clip.model.eval()
    return partial(encode_block, clip, pairs_from, batch_size=batch_size)


def encode_block(clip: Clip, pairs_from: PairsFrom, block: range, *, batch_size: int) -> Encoded:
    """Returns the pairs of the block with their features. It begins at a multiple of `batch_size`."""
    names: list[tuple[str, str]] = []

    def reads() -> Iterator[Read]:
        for pair in islice(pairs_from(block.start), len(block)):
            names.append((pair.key, pair.prompt))
            yield in_memory(pair.image)

    image_ND = torch.cat(list(image_feature_batches(clip, reads(), batch_size=batch_size)))
    return Encoded(names, image_ND.numpy())


def _first(found: dict[range, Encoded]) -> list[Encoded]:
    """The blocks from the first one up to the first gap."""
    first: list[Encoded] = []
    end = 0
    for block in sorted(found, key=lambda block: block.start):
        if block.start != end:
            break
        first.append(found[block])
        end = block.stop
    return first


def _joined(parts: list[Encoded]) -> Encoded:
    return Encoded([name for part in parts for name in part.names], np.concatenate([part.image_ND for part in parts]))
