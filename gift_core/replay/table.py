"""The replays by the name they have in params.yaml: what a teacher writes of them, and how they are read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gift_core.artifacts.embeddings import (
    IMAGE_FEATURES,
    TEXT_FEATURES,
    ImageFeatures,
    TextFeatures,
    read_image_features,
    read_text_features,
    write_image_features,
    write_text_features,
)
from gift_core.artifacts.exemplars import read_exemplars, write_exemplars
from gift_core.artifacts.features import FEATURES, read_features, write_features
from gift_core.artifacts.shards import Pair, iterate_pairs
from gift_core.artifacts.task import read_task
from gift_core.artifacts.task_images import index_task
from gift_core.clip.encoding import tokenize
from gift_core.clip.model import Clip
from gift_core.clip.pixels import Allowance, Read, in_memory
from gift_core.clip.streams import stream_image_features
from gift_core.clip.zero_shot import class_prompts, token_features
from gift_core.progress import progress
from gift_core.replay.bank import BankReplay
from gift_core.replay.exemplars import choose_exemplars
from gift_core.replay.pairs import NoReplay, PairReplay, Replay
from gift_core.replay.random_tokens import random_token_rows
from gift_core.replay.reference import iterate_folder
from gift_core.replay.teacher import encode_pairs
from gift_core.replay.teachers import Teacher

if TYPE_CHECKING:
    from gift_core.config.methods import ReplayConfig


@dataclass(frozen=True)
class ReplaySource:
    """Where the replay of one step lies, and how it is drawn.

    `tasks`: folders of all tasks so far, the new one last; `shards`: the step's synthetic pairs; `teacher`: what the
    stage teach writes for this step, `teacher_before` for the step before; `root`: what a reference folder counts from;
    `place`: the method's key in params.yaml, for errors.
    """

    root: Path
    tasks: tuple[Path, ...]
    shards: Path
    teacher: Path
    teacher_before: Path
    batch_size: int
    encode_batch_size: int
    names: tuple[str | int, ...]
    place: str


@dataclass(frozen=True)
class ReplayRow:
    """One kind of replay. `teach` writes what the teacher says into `source.teacher` and says how much it was."""

    teach: Callable[[Teacher, Any, ReplaySource], str]
    load: Callable[[Clip, Any, ReplaySource], Replay]


def pairs_of(options: ReplayConfig, source: ReplaySource) -> Iterator[Pair]:
    """The pairs of a replay that has pairs, in their order."""
    return PAIRS[options.images](options, source)


def _synthetic(options: Any, source: ReplaySource) -> Iterator[Pair]:
    return iterate_pairs(source.shards)


def _reference(options: Any, source: ReplaySource) -> Iterator[Pair]:
    return iterate_folder(source.root / options.folder, f"{source.place}.replay.folder")


PAIRS = {"synthetic": _synthetic, "reference": _reference}


def teach_nothing(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes nothing."""
    return "nothing to teach"


def teach_pairs(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes features.parquet: an image and a text feature for each pair."""
    pairs = pairs_of(options, source)
    features = encode_pairs(teacher.clip, pairs, batch_size=source.encode_batch_size, metadata={"model": teacher.model})
    write_features(source.teacher / FEATURES, features.keys, features.image_MD, features.text_MD, features.metadata)
    return f"{len(features.keys)} pairs, {features.image_MD.shape[1]} numbers each"


def load_pairs(clip: Clip, options: Any, source: ReplaySource) -> Replay:
    """The pairs with the features the stage teach wrote."""
    features = read_features(source.teacher / FEATURES)
    return PairReplay(
        clip,
        pairs_of(options, source),
        features,
        batch_size=source.batch_size,
        names=source.names,
        allowance=Allowance(),
    )


def teach_task(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes the features of the new task's training images and of the texts they are held against."""
    texts, tokens_PL = TEXTS[options.texts.kind](teacher.clip, options, source)
    return _teach_bank(teacher, _task_images(source), texts, tokens_PL, source)


def load_task(clip: Clip, options: Any, source: ReplaySource) -> Replay:
    """The new task's training images against those texts."""
    return _load_bank(clip, _task_images(source), source)


def _task_images(source: ReplaySource) -> list[Read]:
    return [image.read for image in index_task(source.tasks[-1], "train")]


def teach_exemplars(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Chooses exemplars of the task before, cuts those of earlier ones, and writes them with their features.

    Before the first task there are none.
    """
    if len(source.tasks) == 1:
        write_exemplars(source.teacher, [])
        return "no exemplars yet"
    earlier = read_exemplars(source.teacher_before)
    kept = choose_exemplars(
        teacher.clip,
        source.tasks[-2],
        memory=options.memory,
        earlier=earlier,
        batch_size=source.encode_batch_size,
    )
    write_exemplars(source.teacher, kept)
    texts = list(dict.fromkeys(exemplar.prompt for exemplar in kept))
    tokens_PL = tokenize(teacher.clip, texts)
    return _teach_bank(teacher, [in_memory(exemplar.image) for exemplar in kept], texts, tokens_PL, source)


def load_exemplars(clip: Clip, options: Any, source: ReplaySource) -> Replay:
    """The exemplars against the prompts of their classes; nothing before there are any."""
    exemplars = read_exemplars(source.teacher)
    if not exemplars:
        return NoReplay()
    return _load_bank(clip, [in_memory(exemplar.image) for exemplar in exemplars], source)


def _class_texts(clip: Clip, options: Any, source: ReplaySource) -> tuple[list[str], torch.Tensor]:
    info = read_task(source.tasks[-1])
    texts = class_prompts(info.class_names, info.templates)
    return texts, tokenize(clip, texts)


def _random_texts(clip: Clip, options: Any, source: ReplaySource) -> tuple[list[str], torch.Tensor]:
    tokens_PL = random_token_rows(clip, options.texts.count, options.texts.length, source.names)
    return [f"random tokens {row}" for row in range(len(tokens_PL))], tokens_PL


# By the name of replay.texts.kind in params.yaml.
TEXTS: Mapping[str, Callable[[Clip, Any, ReplaySource], tuple[list[str], torch.Tensor]]] = {
    "classes": _class_texts,
    "random_tokens": _random_texts,
}


def _teach_bank(
    teacher: Teacher,
    images: Sequence[Read],
    texts: list[str],
    tokens_PL: torch.Tensor,
    source: ReplaySource,
) -> str:
    clip, size = teacher.clip, source.encode_batch_size
    metadata = {"model": teacher.model, "precision": clip.precision}
    reads = progress(images, len(images), "images")
    image_ND = stream_image_features(clip, reads, batch_size=size).numpy()
    text_PD = token_features(clip, tokens_PL, batch_size=size).cpu().numpy()
    keys = tuple(f"{row:08d}" for row in range(len(image_ND)))
    write_image_features(source.teacher / IMAGE_FEATURES, ImageFeatures(keys, image_ND, metadata))
    rows = TextFeatures(tuple(texts), tokens_PL.cpu().numpy(), text_PD, metadata)
    write_text_features(source.teacher / TEXT_FEATURES, rows)
    return f"{len(image_ND)} images and {len(texts)} texts, {image_ND.shape[1]} numbers each"


def _load_bank(clip: Clip, images: Sequence[Read], source: ReplaySource) -> Replay:
    return BankReplay(
        clip,
        images,
        read_image_features(source.teacher / IMAGE_FEATURES),
        read_text_features(source.teacher / TEXT_FEATURES),
        batch_size=source.batch_size,
        names=source.names,
        allowance=Allowance(),
    )


REPLAYS: Mapping[str, ReplayRow] = {
    "none": ReplayRow(teach_nothing, lambda clip, options, source: NoReplay()),
    "synthetic": ReplayRow(teach_pairs, load_pairs),
    "reference": ReplayRow(teach_pairs, load_pairs),
    "task": ReplayRow(teach_task, load_task),
    "exemplars": ReplayRow(teach_exemplars, load_exemplars),
}
