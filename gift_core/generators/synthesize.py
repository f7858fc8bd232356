"""Generates the synthetic image-text pairs of a task, shard by shard, with exactly one image per prompt."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.atomic import build_folder, require_free_bytes
from gift_core.artifacts.prompt_files import prompts_digest
from gift_core.artifacts.shards import Pair, copy_shard, finished_pairs, pair_key, write_manifest, write_shard
from gift_core.generators.filters import BLACK, REASONS, Filters, Verdict, check_attempts, is_black
from gift_core.progress import progress_bar
from gift_core.seeds import seed_for
from gift_core.work_folder import work_folder

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from gift_core.config.generator import GeneratorConfig
    from gift_core.generators.pipeline import TextToImage

BYTES_PER_PIXEL = 3  # an upper bound: PNG and JPEG files are smaller than the raw image
FORMATS: dict[str, dict[str, Any]] = {"png": {"format": "PNG"}, "jpg": {"format": "JPEG", "quality": 95}}


@dataclass(frozen=True)
class Request:
    """One row of the prompts. The seeds of its images are derived from `seed`."""

    prompt_id: int
    prompt: str
    seed: int


def synthesize(
    prompts: pd.DataFrame,
    text_to_image: TextToImage,
    folder: Path,
    *,
    work: Path,
    filters: Filters,
    environment: Mapping[str, str | int] | None = None,
) -> dict[str, Any]:
    """Generates one pair per row of `prompts` into `folder` (layout of img2dataset) and returns the manifest.

    Finished shards are kept in `work`, under a key made of prompts and settings, until all are finished. An interrupted
    run resumes: it checks the finished shards and generates the others. `folder` only appears when it is complete.
    Raises UserError if an image is rejected more often than the settings allow, if there is too little disk space, or
    if another process works in `work`.
    """
    config = text_to_image.config
    require_free_bytes(folder, len(prompts) * config.size**2 * BYTES_PER_PIXEL, "synthesize: the generated images")
    digest, shards = prompts_digest(prompts), _shards_of(prompts, config.images_per_shard)
    with work_folder(work, _work_key(digest, config)) as unfinished:
        with progress_bar(total=len(prompts), description="generating images") as bar:
            for index, shard in enumerate(shards):
                finished = finished_pairs(unfinished, index, [(request.prompt_id, request.prompt) for request in shard])
                if finished is not None:
                    filters.recall(pair.image for pair in finished)
                    bar.update(len(shard))
                    continue
                pairs, rejected = _generate_shard(index, shard, text_to_image, filters, bar.update)
                write_shard(unfinished, index, pairs, _stats(rejected, config))
        with build_folder(folder) as whole:
            for index in range(len(shards)):
                copy_shard(unfinished, index, whole)
            return write_manifest(whole, identity(config), digest, environment)


def identity(config: GeneratorConfig) -> dict[str, Any]:
    """Returns the settings that decide what the images look like. The batch size does: it changes the rounding."""
    return config.model_dump(exclude={"images_per_shard": True, "max_redraws": True, "filters": {"max_redraws"}})


def _shards_of(prompts: pd.DataFrame, images_per_shard: int) -> list[list[Request]]:
    columns = (prompts[name].tolist() for name in ("prompt_id", "prompt", "seed"))
    requests = [Request(*row) for row in zip(*columns, strict=True)]
    return [requests[at : at + images_per_shard] for at in range(0, len(requests), images_per_shard)]


def _work_key(digest: dict[str, Any], config: GeneratorConfig) -> str:
    content = json.dumps([digest, identity(config), config.images_per_shard])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _stats(counts: Counter[str], config: GeneratorConfig) -> dict[str, Any]:
    rejected = {} if config.filters is None else {"rejected": {reason: counts[reason] for reason in REASONS}}
    return {"redrawn": counts["black"], **rejected}


def _generate_shard(
    index: int, shard: list[Request], text_to_image: TextToImage, filters: Filters, advance: Callable[[int], object]
) -> tuple[list[Pair], Counter[str]]:
    """Returns the pairs of a shard, and how many images were rejected for each reason."""
    pairs: list[Pair] = []
    counts: Counter[str] = Counter()
    for start in range(0, len(shard), text_to_image.config.batch_size):
        batch = shard[start : start + text_to_image.config.batch_size]
        images, rejected = _generate_batch(batch, text_to_image, filters)
        counts += rejected
        for position, (request, image) in enumerate(zip(batch, images, strict=True), start):
            pairs.append(Pair(pair_key(index, position), request.prompt_id, request.prompt, image))
        advance(len(batch))
    return pairs, counts


def _generate_batch(
    batch: list[Request], text_to_image: TextToImage, filters: Filters
) -> tuple[list[bytes], Counter[str]]:
    """Generates a batch. Rejected images are generated again with their next seeds until all are kept."""
    config = text_to_image.config
    images: dict[int, bytes] = {}
    rejected: dict[int, list[Verdict]] = {index: [] for index in range(len(batch))}
    for attempt in itertools.count():
        missing = [index for index in range(len(batch)) if index not in images]
        if not missing:
            break
        seeds = [seed_for("synthesize", config.seed, batch[index].seed, attempt) for index in missing]
        generated = text_to_image.generate([batch[index].prompt for index in missing], seeds)
        for index, image in zip(missing, generated, strict=True):
            request, encoded = batch[index], _encode(image, config.image_format)
            verdict = BLACK if is_black(image) else filters.verdict(encoded, request.prompt)
            if verdict.reason is None:
                images[index] = encoded
                continue
            rejected[index].append(verdict)
            check_attempts(f"prompt {request.prompt_id} ({request.prompt!r})", rejected[index], config)
    counts = Counter(str(verdict.reason) for verdicts in rejected.values() for verdict in verdicts)
    return [images[index] for index in range(len(batch))], counts


def _encode(image: Image.Image, image_format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **FORMATS[image_format])
    return buffer.getvalue()
