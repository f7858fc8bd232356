"""Paired replay, synthetic or of a reference folder: what the stage teach writes for it, and how it is loaded again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.features import (
    FEATURES,
    TEXT_FEATURES,
    Features,
    TextFeatures,
    read_features,
    read_text_features,
    write_features,
    write_text_features,
)
from gift_core.artifacts.prompt_files import VOCABULARY_STAGES, read_vocabulary
from gift_core.artifacts.shards import MANIFEST, Pair, iterate_pairs, read_manifest
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import Clip
from gift_core.replay.image_blocks import ImageBlocks
from gift_core.replay.pairs import PairReplay, Replay
from gift_core.replay.prompts import vocabulary_texts
from gift_core.replay.reference import iterate_folder, require_readable
from gift_core.replay.source import ReplaySource, hash_of
from gift_core.replay.teacher_features import encode_pairs, encode_pairs_and_vocabulary
from gift_core.replay.teachers import Teacher

if TYPE_CHECKING:
    from gift_core.config.method_options import MethodConfig, ReplayConfig


def pairs_of(options: ReplayConfig, source: ReplaySource, first: int = 0) -> Iterator[Pair]:
    """Returns the (image, prompt) pairs of a paired replay, in their order, but the `first` ones."""
    return PAIRS[options.images](options, source, first)


def _synthetic(options: Any, source: ReplaySource, first: int = 0) -> Iterator[Pair]:
    """Skips the `first` of the step's own pairs and of those of the steps before, whose keys begin with their task."""
    skipped = first and min(first, _images_in(source.shards))
    yield from iterate_pairs(source.shards, source.prompts, first=skipped)
    for shards, prompts in _kept(options, source):
        first -= skipped
        skipped = first and min(first, _images_in(shards))
        for pair in iterate_pairs(shards, prompts, first=skipped):
            yield replace(pair, key=f"{shards.name}/{pair.key}")


def _kept(options: Any, source: ReplaySource) -> tuple[tuple[Path, Path], ...]:
    return source.earlier[: options.keep_earlier]


def _reference(options: Any, source: ReplaySource, first: int = 0) -> Iterator[Pair]:
    return iterate_folder(source.root / options.folder, f"{source.key}.replay.folder", first=first)


PAIRS = {"synthetic": _synthetic, "reference": _reference}


def teach_synthetic(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes the features of the pairs, and text_features.parquet: the vocabulary, with the pairs' prompts first."""
    features, vocabulary = encode_pairs_and_vocabulary(
        teacher.clip,
        pairs_of(options, source),
        vocabulary_texts(read_vocabulary(source.vocabulary)),
        count=synthetic_images(options, source),
        blocks=_blocks(options, source),
        **_settings(teacher, source),
    )
    write_text_features(source.teacher / TEXT_FEATURES, vocabulary)
    return f"{_write(features, source)}, {len(vocabulary.texts)} texts in the vocabulary"


def synthetic_images(options: Any, source: ReplaySource) -> int:
    """Returns the number of images, by the manifests. ContractError for a damaged one."""
    folders = [source.shards, *(shards for shards, _ in _kept(options, source))]
    return sum(_images_in(folder) for folder in folders)


def _images_in(shards: Path) -> int:
    return int(read_manifest(shards)["images"])


def _blocks(options: Any, source: ReplaySource) -> ImageBlocks | None:
    if source.load_clip is None:
        return None
    return ImageBlocks(partial(_synthetic, options, source.portable), source.load_clip)


def _settings(teacher: Teacher, source: ReplaySource) -> dict[str, Any]:
    metadata = {"model": teacher.model}
    return {"batch_size": source.encode_batch_size, "metadata": metadata, "snapshot": source.snapshot}


def _write(features: Features, source: ReplaySource) -> str:
    """Writes features.parquet: an image and a text feature for each pair."""
    write_features(source.teacher / FEATURES, features.keys, features.image_MD, features.text_MD, features.metadata)
    return f"{len(features.keys)} pairs, {features.image_MD.shape[1]} numbers each"


def teach_reference(teacher: Teacher, options: Any, source: ReplaySource) -> str:
    """Writes the features of the pairs of a folder. UserError names an image that cannot be decoded."""
    try:
        return _write(encode_pairs(teacher.clip, pairs_of(options, source), **_settings(teacher, source)), source)
    except (OSError, SyntaxError):  # Pillow's errors do not name the file
        require_readable(source.root / options.folder, f"{source.key}.replay.folder")
        raise


def load_pairs(clip: Clip, method: MethodConfig, source: ReplaySource) -> Replay:
    """Returns the pairs with the features that `teach_reference` wrote. Their vocabulary is their distinct prompts."""
    return _load_pairs(clip, method, source, None)


def load_synthetic(clip: Clip, method: MethodConfig, source: ReplaySource) -> Replay:
    """Returns the pairs with their features, and with those of the whole vocabulary if a loss needs them."""
    needed = method.losses.need_vocabulary
    vocabulary = read_text_features(source.teacher / TEXT_FEATURES) if needed else None
    return _load_pairs(clip, method, source, vocabulary)


def _load_pairs(clip: Clip, method: MethodConfig, source: ReplaySource, vocabulary: TextFeatures | None) -> Replay:
    return PairReplay(
        clip,
        pairs_of(method.replay, source),
        read_features(source.teacher / FEATURES),
        batch_size=source.batch_size,
        names=source.names,
        cache_budget=CacheBudget(),
        vocabulary=vocabulary,
        share=source.share,
    )


def hash_shards(options: Any, source: ReplaySource) -> dict[str, str]:
    """A manifest holds the hash of every shard."""
    own = {"shards": hash_of(source.shards / MANIFEST, "synthesize")}
    kept = {f"shards {folder.name}": hash_of(folder / MANIFEST, "synthesize") for folder, _ in _kept(options, source)}
    return own | kept | {"vocabulary": hash_of(source.vocabulary, VOCABULARY_STAGES)}


def hash_reference(options: Any, source: ReplaySource) -> dict[str, str]:
    """Returns a hash of the keys, prompts and images of the reference data."""
    digest = hashlib.sha256()
    for pair in _reference(options, source):
        digest.update(f"{pair.key}\n{pair.prompt}\n{hashlib.sha256(pair.image).hexdigest()}\n".encode())
    return {"reference": digest.hexdigest()}
