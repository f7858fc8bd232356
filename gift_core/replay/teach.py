"""What each kind of replay reads, what the stage teach computes for it, and how fine-tuning loads it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gift_core.artifacts.atomic import sha256_of
from gift_core.artifacts.exemplar_files import read_exemplars, write_exemplars
from gift_core.artifacts.features import (
    FEATURES,
    IMAGE_FEATURES,
    TEXT_FEATURES,
    Features,
    ImageFeatures,
    TextFeatures,
    read_features,
    read_image_features,
    read_text_features,
    write_features,
    write_image_features,
    write_text_features,
)
from gift_core.artifacts.fisher_file import FISHER, Fisher, Floats, read_fisher, write_fisher
from gift_core.artifacts.shards import Pair, iterate_pairs
from gift_core.artifacts.task import index_task, read_task
from gift_core.artifacts.teacher_source import write_source
from gift_core.clip.encoding import class_prompts, stream_image_features, text_features, token_features, tokenize
from gift_core.clip.images import CacheBudget, Read, evaluation_pixels, in_memory
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.progress import progress
from gift_core.provenance import environment
from gift_core.replay.exemplars import choose_exemplars
from gift_core.replay.fisher import estimate_fisher
from gift_core.replay.pairs import NoReplay, PairReplay, Replay
from gift_core.replay.reference import iterate_folder, require_readable
from gift_core.replay.teachers import Teacher
from gift_core.replay.unpaired import UnpairedReplay, random_token_rows

if TYPE_CHECKING:
    from gift_core.config.method_options import MethodConfig, ReplayConfig


@dataclass(frozen=True)
class ReplaySource:
    """Where the replay of one step lies, and how it is sampled.

    `tasks`: folders of all tasks so far, the new one last. `shards`: the step's synthetic pairs. `prompts`: the file of
    their prompts. `teacher`: the folder that the stage teach writes for this step. `teacher_before`: the same of the
    step before. `root`: the folder that a reference folder is relative to. `key`: the method's key in params.yaml, for
    errors.
    """

    root: Path
    tasks: tuple[Path, ...]
    shards: Path
    prompts: Path
    teacher: Path
    teacher_before: Path
    batch_size: int
    encode_batch_size: int
    names: tuple[str | int, ...]
    key: str


def teach(teacher: Teacher, method: MethodConfig, source: ReplaySource) -> str:
    """Writes what fine-tuning needs of the frozen teacher into `source.teacher`; returns a summary of it.

    These are the features of the replayed images and texts, the Fisher diagonals where `replay.fisher` asks for them,
    and source.json.
    """
    kind = REPLAYS[method.replay.images]
    summary = kind.teach(teacher, method.replay, source)
    write_source(
        source.teacher,
        replay=method.replay.images,
        read=kind.hashes(method.replay, source),
        environment=environment(teacher.clip.device),
    )
    options = getattr(method.replay, "fisher", None)
    if options is None:
        return summary
    pairs = pairs_of(method.replay, source)
    diagonals = fisher_of_pairs(teacher.clip, pairs, estimator=options.estimator, batch_size=source.batch_size)
    if options.accumulate and len(source.tasks) > 1:
        diagonals = added(diagonals, read_fisher(source.teacher_before / FISHER).diagonals)
    write_fisher(source.teacher / FISHER, Fisher(diagonals, options.estimator, teacher.model))
    return f"{summary}; Fisher diagonals ({options.estimator}) of {len(diagonals)} tensors"


def pairs_of(options: ReplayConfig, source: ReplaySource) -> Iterator[Pair]:
    """Returns the (image, prompt) pairs of a paired replay, in their order."""
    return PAIRS[options.images](options, source)


def _synthetic(options: Any, source: ReplaySource) -> Iterator[Pair]:
    return iterate_pairs(source.shards, source.prompts)


def _reference(options: Any, source: ReplaySource) -> Iterator[Pair]:
    return iterate_folder(source.root / options.folder, f"{source.key}.replay.folder")


PAIRS = {"synthetic": _synthetic, "reference": _reference}


def teach_nothing(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes nothing."""
    return "no replay"


def teach_pairs(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes features.parquet: an image and a text feature for each pair."""
    pairs = pairs_of(options, source)
    features = encode_pairs(teacher.clip, pairs, batch_size=source.encode_batch_size, metadata={"model": teacher.model})
    write_features(source.teacher / FEATURES, features.keys, features.image_MD, features.text_MD, features.metadata)
    return f"{len(features.keys)} pairs, {features.image_MD.shape[1]} numbers each"


def encode_pairs(clip: Clip, pairs: Iterable[Pair], *, batch_size: int, metadata: Mapping[str, str]) -> Features:
    """Returns the teacher's unit features of every pair, in the order of `pairs`.

    The images go through the evaluation transform, so their features are constant for the task. Each distinct prompt is
    encoded once. `metadata` is stored with the features, together with the precision. UserError without pairs.
    """
    listed = list(pairs)
    if not listed:
        raise UserError("teach: there are no pairs to replay. Run stage synthesize for this task.")
    clip.model.eval()
    images = (in_memory(pair.image) for pair in progress(listed, len(listed), "images"))
    image_MD = stream_image_features(clip, images, batch_size=batch_size)
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(pair.prompt for pair in listed))}
    text_PD = text_features(clip, list(numbers), batch_size=batch_size)
    text_MD = text_PD[[numbers[pair.prompt] for pair in listed]]
    return Features(
        keys=tuple(pair.key for pair in listed),
        image_MD=image_MD.numpy(),
        text_MD=text_MD.cpu().numpy(),
        metadata={**metadata, "precision": clip.precision},
    )


def teach_reference(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Does the same for a reference folder. UserError names an image that cannot be decoded."""
    try:
        return teach_pairs(teacher, options, source)
    except (OSError, SyntaxError):  # Pillow's errors do not name the file
        require_readable(source.root / options.folder, f"{source.key}.replay.folder")
        raise


def load_pairs(clip: Clip, options: Any, source: ReplaySource) -> Replay:
    """Returns the pairs with the features that `teach_pairs` wrote."""
    features = read_features(source.teacher / FEATURES)
    return PairReplay(
        clip,
        pairs_of(options, source),
        features,
        batch_size=source.batch_size,
        names=source.names,
        cache_budget=CacheBudget(),
    )


def teach_task(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes the features of the new task's training images and of the texts in `options.texts`."""
    texts, tokens_PL = TEXTS[options.texts.kind](teacher.clip, options, source)
    return _teach_unpaired(teacher, _task_images(source), texts, tokens_PL, source)


def load_task(clip: Clip, options: Any, source: ReplaySource) -> Replay:
    """Returns the new task's training images against those texts."""
    return _load_unpaired(clip, _task_images(source), source)


def _task_images(source: ReplaySource) -> list[Read]:
    return [image.read for image in index_task(source.tasks[-1], "train")]


def teach_exemplars(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes the exemplars after the task before this one, and their features. The first task has none."""
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
    return _teach_unpaired(teacher, [in_memory(exemplar.image) for exemplar in kept], texts, tokens_PL, source)


def load_exemplars(clip: Clip, options: Any, source: ReplaySource) -> Replay:
    """Returns the exemplars against the prompts of their classes; NoReplay where there are none."""
    exemplars = read_exemplars(source.teacher)
    if not exemplars:
        return NoReplay()
    return _load_unpaired(clip, [in_memory(exemplar.image) for exemplar in exemplars], source)


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


def _teach_unpaired(
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


def _load_unpaired(clip: Clip, images: Sequence[Read], source: ReplaySource) -> Replay:
    return UnpairedReplay(
        clip,
        images,
        read_image_features(source.teacher / IMAGE_FEATURES),
        read_text_features(source.teacher / TEXT_FEATURES),
        batch_size=source.batch_size,
        names=source.names,
        cache_budget=CacheBudget(),
    )


def fisher_of_pairs(clip: Clip, pairs: Iterable[Pair], *, estimator: str, batch_size: int) -> dict[str, Floats]:
    """Returns the diagonal Fisher information of `clip` on the pairs by parameter name (gift_core.replay.fisher)."""
    listed = list(pairs)
    pixels_MCHW = evaluation_pixels(clip, (pair.image for pair in listed))
    tokens_ML = tokenize(clip, [pair.prompt for pair in listed])
    fisher: dict[str, torch.Tensor] = estimate_fisher(
        clip, pixels_MCHW, tokens_ML, estimator=estimator, batch_size=batch_size
    )
    return {name: diagonal.numpy() for name, diagonal in fisher.items()}


def added(newest: Mapping[str, Floats], earlier: Mapping[str, Floats]) -> dict[str, Floats]:
    """Returns the sum over the steps so far, as in EWC."""
    return {name: (diagonal + earlier[name]).astype(np.float32) for name, diagonal in newest.items()}


@dataclass(frozen=True)
class ReplayKind:
    """One value of replay.images.

    `teach` writes the teacher's features into `source.teacher` and returns a summary. `load` returns the replay for
    fine-tuning. `hashes` returns the SHA-256 of what is read, by name.
    """

    teach: Callable[[Teacher, Any, ReplaySource], str]
    load: Callable[[Clip, Any, ReplaySource], Replay]
    hashes: Callable[[Any, ReplaySource], dict[str, str]]


def _hash_shards(options: Any, source: ReplaySource) -> dict[str, str]:
    return {"shards": sha256_of(source.shards / "manifest.json")}  # it holds the hash of every shard


def _hash_task(options: Any, source: ReplaySource) -> dict[str, str]:
    return {"task": sha256_of(source.tasks[-1] / "task.json")}


def _hash_earlier_task(options: Any, source: ReplaySource) -> dict[str, str]:
    return {f"task {folder.name}": sha256_of(folder / "task.json") for folder in source.tasks[-2:-1]}


def _hash_reference(options: Any, source: ReplaySource) -> dict[str, str]:
    digest = hashlib.sha256()
    for pair in _reference(options, source):
        digest.update(f"{pair.key}\n{pair.prompt}\n{hashlib.sha256(pair.image).hexdigest()}\n".encode())
    return {"reference": digest.hexdigest()}


REPLAYS: Mapping[str, ReplayKind] = {
    "none": ReplayKind(teach_nothing, lambda clip, options, source: NoReplay(), lambda options, source: {}),
    "synthetic": ReplayKind(teach_pairs, load_pairs, _hash_shards),
    "reference": ReplayKind(teach_reference, load_pairs, _hash_reference),
    "task": ReplayKind(teach_task, load_task, _hash_task),
    "exemplars": ReplayKind(teach_exemplars, load_exemplars, _hash_earlier_task),
}
