"""What each kind of replay reads, what the stage teach computes for it, and how fine-tuning loads it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from gift_core.artifacts.atomic import build_folder
from gift_core.artifacts.exemplar_files import read_exemplars, write_exemplars
from gift_core.artifacts.features import (
    IMAGE_FEATURES,
    TEXT_FEATURES,
    ImageFeatures,
    TextFeatures,
    read_image_features,
    read_text_features,
    write_image_features,
    write_text_features,
)
from gift_core.artifacts.fisher_file import FISHER, Fisher, read_fisher, write_fisher
from gift_core.artifacts.task import index_task, read_own_task
from gift_core.artifacts.teacher_source import require_source, write_source
from gift_core.clip.encoding import class_prompts, tokenize
from gift_core.clip.images import CacheBudget, Read, in_memory
from gift_core.clip.model import Clip
from gift_core.provenance import environment
from gift_core.replay.exemplars import choose_exemplars
from gift_core.replay.fisher import added, fisher_of_pairs
from gift_core.replay.paired import (
    hash_reference,
    hash_shards,
    load_pairs,
    load_synthetic,
    pairs_of,
    teach_reference,
    teach_synthetic,
)
from gift_core.replay.pairs import NoReplay, Replay
from gift_core.replay.source import ReplaySource, hash_of
from gift_core.replay.teacher_features import (
    resumed_image_features,
    resumed_token_features,
)
from gift_core.replay.teachers import Teacher
from gift_core.replay.unpaired import UnpairedReplay, random_token_rows

if TYPE_CHECKING:
    from gift_core.config.method_options import MethodConfig, ReplayConfig


def teach(
    teacher: Teacher, method: MethodConfig, source: ReplaySource, *, read: Mapping[str, str] | None = None
) -> str:
    """Writes what fine-tuning needs of the frozen teacher into `source.teacher`; returns a summary of it.

    These are the features of the replayed images and texts, the Fisher diagonals where `replay.fisher` asks for them,
    and source.json with `read`, the result of `hashes_of`. The folder appears whole or not at all.
    """
    read = hashes_of(method, source) if read is None else read
    with build_folder(source.teacher) as folder:
        summary = _teach(teacher, method.replay, replace(source, teacher=folder))
        write_source(
            folder,
            replay=method.replay.images,
            read=read,
            model=teacher.model,
            environment=None if method.replay.images == "none" else environment(teacher.clip.device),
        )
    return summary


def hashes_of(method: MethodConfig, source: ReplaySource) -> dict[str, str]:
    """Returns the SHA-256 of what the method's replay reads, by name."""
    return REPLAYS[method.replay.images].hashes(method.replay, source)


def require_taught(method: MethodConfig, source: ReplaySource) -> None:
    """Raises ContractError unless `source.teacher` was made by this step's teacher from this step's data.

    Without replay nothing of it is read, and it need not exist.
    """
    images = method.replay.images
    if images == "none":
        return
    read = hashes_of(method, source)
    require_source(source.teacher, replay=images, read=read, model=source.teacher_model)


def _teach(teacher: Teacher, replay: ReplayConfig, source: ReplaySource) -> str:
    summary = REPLAYS[replay.images].teach(teacher, replay, source)
    options = getattr(replay, "fisher", None)
    if options is None:
        return summary
    diagonals = fisher_of_pairs(
        teacher.clip,
        partial(pairs_of, replay, replace(source.portable, earlier=())),
        estimator=options.estimator,
        batch_size=source.batch_size,
        snapshot=source.snapshot("fisher"),
        load_clip=source.load_clip,
    )
    if options.accumulate and len(source.tasks) > 1:
        diagonals = added(diagonals, read_fisher(source.teacher_before / FISHER).diagonals)
    write_fisher(source.teacher / FISHER, Fisher(diagonals, options.estimator, teacher.model))
    return f"Fisher diagonals ({options.estimator}) of {len(diagonals)} tensors"


def teach_nothing(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes nothing."""
    return "no replay"


def teach_task(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes the features of the new task's training images and of the texts in `options.texts`."""
    texts, tokens_PL = TEXTS[options.texts.kind](teacher.clip, options, source)
    return _teach_unpaired(teacher, _task_images(source), texts, tokens_PL, source)


def load_task(clip: Clip, method: MethodConfig, source: ReplaySource) -> Replay:
    """Returns the new task's training images against those texts."""
    return _load_unpaired(clip, _task_images(source), source)


def _task_images(source: ReplaySource) -> list[Read]:
    read_own_task(source.tasks[-1])
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
        snapshot=source.snapshot("candidates"),
    )
    write_exemplars(source.teacher, kept)
    texts = list(dict.fromkeys(exemplar.prompt for exemplar in kept))
    tokens_PL = tokenize(teacher.clip, texts)
    return _teach_unpaired(teacher, [in_memory(exemplar.image) for exemplar in kept], texts, tokens_PL, source)


def load_exemplars(clip: Clip, method: MethodConfig, source: ReplaySource) -> Replay:
    """Returns the exemplars against the prompts of their classes; NoReplay where there are none."""
    exemplars = read_exemplars(source.teacher)
    if not exemplars:
        return NoReplay()
    return _load_unpaired(clip, [in_memory(exemplar.image) for exemplar in exemplars], source)


def _class_texts(clip: Clip, options: Any, source: ReplaySource) -> tuple[list[str], torch.Tensor]:
    info = read_own_task(source.tasks[-1])
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
    image_ND = resumed_image_features(
        clip, images, count=len(images), batch_size=size, snapshot=source.snapshot("images")
    ).numpy()
    text_PD = resumed_token_features(clip, tokens_PL, batch_size=size, snapshot=source.snapshot("texts")).numpy()
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
        share=source.share,
    )


@dataclass(frozen=True)
class ReplayKind:
    """One value of replay.images.

    `teach` writes the teacher's features into `source.teacher` and returns a summary. `load` returns the replay for
    fine-tuning. `hashes` returns the SHA-256 of what is read, by name.
    """

    teach: Callable[[Teacher, Any, ReplaySource], str]
    load: Callable[[Clip, MethodConfig, ReplaySource], Replay]
    hashes: Callable[[Any, ReplaySource], dict[str, str]]


def _hash_task(options: Any, source: ReplaySource) -> dict[str, str]:
    return {"task": hash_of(source.tasks[-1] / "task.json", "ingest")}


def _hash_earlier_task(options: Any, source: ReplaySource) -> dict[str, str]:
    return {f"task {folder.name}": hash_of(folder / "task.json", "ingest") for folder in source.tasks[-2:-1]}


REPLAYS: Mapping[str, ReplayKind] = {
    "none": ReplayKind(teach_nothing, lambda clip, method, source: NoReplay(), lambda options, source: {}),
    "synthetic": ReplayKind(teach_synthetic, load_synthetic, hash_shards),
    "reference": ReplayKind(teach_reference, load_pairs, hash_reference),
    "task": ReplayKind(teach_task, load_task, _hash_task),
    "exemplars": ReplayKind(teach_exemplars, load_exemplars, _hash_earlier_task),
}
