"""The teacher's features of many images and texts, in units of whole batches (gift_core.computation).

The batches are the same whoever computes a unit, so the features are, too.
M pairs, N images or texts, P distinct prompts, L tokens, D features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch

from gift_core.artifacts.shards import Pair
from gift_core.artifacts.teacher_files import Features, TextFeatures
from gift_core.clip.encoding import image_feature_batches, token_features, tokenize
from gift_core.clip.images import Read, in_memory
from gift_core.clip.model import Clip
from gift_core.computation import Advance, Computation, State, UnitRunner, ranges, run_serially
from gift_core.errors import UserError
from gift_core.method.replay.teachers import Teacher

BATCHES = 16  # of a unit: 4,096 images in batches of 256
ImageWithMetadata = tuple[Read, Sequence[str]]  # an image, and what is to be known of it beside its features
PairsFrom = Callable[[int], Iterator[Pair]]  # yields the pairs from the one with this number on


def encode_pairs(
    teacher: Teacher, pairs_from: PairsFrom, count: int, *, batch_size: int, run: UnitRunner = run_serially
) -> tuple[Features, list[str]]:
    """Returns the teacher's unit features of the `count` pairs that `pairs_from` reads, in their order, and prompts.

    The images go through the evaluation transform, so their features are constant for the task. Each distinct prompt is
    encoded once. Only a few images are in memory. UserError without pairs.
    """
    if not count:
        raise UserError("teach: there are no pairs to replay. Run stage synthesize for this task.")
    clip, images_from = teacher.clip, partial(_images_from, pairs_from)
    image_MD, named = features_of_images(
        clip, images_from, count, batch_size=batch_size, run=run, load_clip=teacher.load_clip
    )
    keys, prompts = [key for key, _ in named], [prompt for _, prompt in named]
    numbers = {prompt: number for number, prompt in enumerate(first_rows(prompts))}
    text_PD = features_of_texts(clip, tokenize(clip, list(numbers)), batch_size=batch_size, run=run)
    text_MD = text_PD[[numbers[prompt] for prompt in prompts]]
    return Features(tuple(keys), image_MD.numpy(), text_MD.numpy(), teacher.metadata), prompts


def encode_vocabulary(
    teacher: Teacher,
    features: Features,
    prompts: Sequence[str],
    texts: Iterable[str],
    *,
    batch_size: int,
    run: UnitRunner,
) -> TextFeatures:
    """Returns the features of the distinct `prompts`, which `features` has, and, after them, of the other `texts`."""
    first = first_rows(prompts)
    vocabulary = tuple(dict.fromkeys([*first, *texts]))
    tokens_PL = tokenize(teacher.clip, list(vocabulary))
    other_PD = features_of_texts(
        teacher.clip, tokens_PL[len(first) :], batch_size=batch_size, run=run, name="vocabulary"
    )
    text_PD = np.concatenate([features.text_MD[list(first.values())], other_PD.numpy()])
    return TextFeatures(vocabulary, tokens_PL.cpu().numpy(), text_PD, teacher.metadata)


def first_rows(texts: Iterable[str]) -> dict[str, int]:
    """Returns the first row of each distinct text, in the order of their appearance."""
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        rows.setdefault(text, row)
    return rows


def features_of_images(
    clip: Clip,
    images_from: Callable[[int], Iterator[ImageWithMetadata]],
    count: int,
    *,
    batch_size: int,
    run: UnitRunner = run_serially,
    load_clip: Callable[[], Clip] | None = None,
    name: str = "images",
) -> tuple[torch.Tensor, list[Sequence[str]]]:
    """Returns the unit features [N, D] of `count` encoded images on the CPU, and what was named with each image."""
    load = None if load_clip is None else partial(_load, load_clip, images_from, batch_size)
    compute = partial(_encode_ranges, clip, images_from, batch_size)
    units = ranges(count, BATCHES * batch_size)
    state = run(Computation(name, units, compute, load=load, noun=name))
    named = [each for unit in sorted(state.note) for each in state.note[unit]]
    return _joined(state, clip), named


def features_of_listed(
    clip: Clip, images: Sequence[Read], *, batch_size: int, run: UnitRunner = run_serially, name: str = "images"
) -> torch.Tensor:
    """Returns the unit features [N, D] of a list of encoded images on the CPU."""

    def images_from(first: int) -> Iterator[ImageWithMetadata]:
        return ((read, ()) for read in images[first:])

    return features_of_images(clip, images_from, len(images), batch_size=batch_size, run=run, name=name)[0]


def features_of_texts(
    clip: Clip, tokens_NL: torch.Tensor, *, batch_size: int, run: UnitRunner = run_serially, name: str = "texts"
) -> torch.Tensor:
    """Returns the unit features [N, D] of token rows on the CPU."""

    def compute(units: Iterable[range], advance: Advance) -> Iterator[State]:
        for rows in units:
            part_ND = token_features(clip, tokens_NL[rows.start : rows.stop], batch_size=batch_size)
            advance(len(rows))
            yield _state(rows, part_ND.cpu())

    return _joined(run(Computation(name, ranges(len(tokens_NL), batch_size), compute, noun=name)), clip)


def _images_from(pairs_from: PairsFrom, first: int) -> Iterator[ImageWithMetadata]:
    return ((in_memory(pair.image), (pair.key, pair.prompt)) for pair in pairs_from(first))


def _load(
    load_clip: Callable[[], Clip], images_from: Callable[[int], Iterator[ImageWithMetadata]], batch_size: int
) -> Callable[[Iterable[range], Advance], Iterator[State]]:
    """In another process: returns what encodes ranges."""
    return partial(_encode_ranges, load_clip(), images_from, batch_size)


def _encode_ranges(
    clip: Clip,
    images_from: Callable[[int], Iterator[ImageWithMetadata]],
    batch_size: int,
    units: Iterable[range],
    advance: Advance,
) -> Iterator[State]:
    """The features of each range of images. A GPU does not wait between two ranges, which are decoded as one stream."""
    clip.model.eval()
    taken: deque[range] = deque()
    named: deque[Sequence[str]] = deque()

    def reads() -> Iterator[Read]:
        images: Iterator[ImageWithMetadata] = iter(())
        position = -1
        for rows in units:
            taken.append(rows)
            images = images if rows.start == position else images_from(rows.start)
            position = rows.stop
            for read, names in islice(images, len(rows)):
                named.append(names)
                yield read

    batches: list[torch.Tensor] = []
    for batch_ND in image_feature_batches(clip, reads(), batch_size=batch_size):
        batches.append(batch_ND)
        advance(len(batch_ND))
        if sum(map(len, batches)) == len(taken[0]):
            rows = taken.popleft()
            yield _state(rows, torch.cat(batches), [named.popleft() for _ in rows])
            batches = []


def _state(rows: range, part_ND: torch.Tensor, named: Sequence[Sequence[str]] = ()) -> State:
    key = f"{rows.start:012d}"
    return State({key: part_ND}, {key: named} if named else {})


def _joined(state: State, clip: Clip) -> torch.Tensor:
    parts = [state.tensors[key] for key in sorted(state.tensors)]
    return torch.cat(parts) if parts else torch.empty(0, clip.embedding_size)
