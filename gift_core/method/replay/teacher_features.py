"""The teacher's features of many images and texts, in units of whole batches (gift_core.computation).

The batches are the same whoever computes a unit, so the features are, too.
M pairs, N images or texts, P distinct prompts, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch

from gift_core.artifacts.shards import Pair, columns_of
from gift_core.artifacts.teacher_files import Features, TextFeatures
from gift_core.clip.encoding import image_feature_batches, token_features, tokenize
from gift_core.clip.images import Read
from gift_core.clip.model import Clip
from gift_core.computation import Advance, Computation, State, UnitRunner, ranges, run_serially
from gift_core.method.replay.source import Teacher, loaded

BATCHES = 16  # of a unit: 4,096 images in batches of 256


def encode_pairs(
    teacher: Teacher, pairs: Iterable[Pair], *, batch_size: int, run: UnitRunner = run_serially
) -> tuple[Features, list[str]]:
    """Returns the teacher's unit features of the pairs, in their order, and their prompts.

    The images go through the evaluation transform, so their features are constant for the task. Each distinct prompt is
    encoded once. Only a few images are in memory.
    """
    clip = teacher.clip
    keys, prompts, images = columns_of(pairs)
    image_MD = features_of_images(clip, images, batch_size=batch_size, run=run, load_clip=teacher.load_clip)
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
    images: Sequence[Read],
    *,
    batch_size: int,
    run: UnitRunner = run_serially,
    load_clip: Callable[[], Clip] | None = None,
    name: str = "images",
) -> torch.Tensor:
    """Returns the unit features [N, D] of encoded images on the CPU.

    With `load_clip`, which loads the same model, other processes can compute some of them.
    """
    load = None if load_clip is None else partial(loaded, load_clip, _encode_images, images, batch_size)
    compute = partial(_encode_images, clip, images, batch_size)
    units = ranges(len(images), BATCHES * batch_size)
    return _joined(run(Computation(name, units, compute, load=load, noun=name)), clip)


def features_of_texts(
    clip: Clip, tokens_NL: torch.Tensor, *, batch_size: int, run: UnitRunner = run_serially, name: str = "texts"
) -> torch.Tensor:
    """Returns the unit features [N, D] of token rows on the CPU."""

    def compute(rows: range, advance: Advance) -> State:
        part_ND = token_features(clip, tokens_NL[rows.start : rows.stop], batch_size=batch_size)
        advance(len(rows))
        return State({"features_ND": part_ND.cpu()})

    return _joined(run(Computation(name, ranges(len(tokens_NL), batch_size), compute, noun=name)), clip)


def _encode_images(clip: Clip, images: Sequence[Read], batch_size: int, rows: range, advance: Advance) -> State:
    batches = []
    for batch_ND in image_feature_batches(clip, images[rows.start : rows.stop], batch_size=batch_size):
        batches.append(batch_ND)
        advance(len(batch_ND))
    return State({"features_ND": torch.cat(batches)})


def _joined(states: Iterable[State], clip: Clip) -> torch.Tensor:
    parts = [tensor for state in states for tensor in state.tensors.values()]
    return torch.cat([torch.empty(0, clip.embedding_size), *parts])
