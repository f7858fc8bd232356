"""Generates the synthetic image-text pairs of a task, shard by shard, with exactly one image per prompt."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.atomic import build_folder, require_free_bytes
from gift_core.artifacts.shards import Pair, pair_key, read_shard, read_shard_stats, write_manifest, write_shard
from gift_core.generators.filters import BLACK, REASONS, Filters, Verdict, check_attempts, is_black
from gift_core.progress import progress_bar
from gift_core.seeds import seed_for

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
    prompts: pd.DataFrame, text_to_image: TextToImage, folder: Path, *, work: Path, filters: Filters
) -> dict[str, Any]:
    """Generates one pair per row of `prompts` into `folder` (layout of img2dataset) and returns the manifest.

    Finished shards are kept in `work`, under a fingerprint of prompts and settings, until all are finished. An
    interrupted run resumes at the first missing shard, and `folder` only appears when it is complete. Raises UserError
    if an image is rejected more often than the settings allow, or if there is too little disk space.
    """
    config = text_to_image.config
    require_free_bytes(folder, len(prompts) * config.size**2 * BYTES_PER_PIXEL, "synthesize: the generated images")
    columns = (prompts[name].tolist() for name in ("prompt_id", "prompt", "seed"))
    requests = [Request(*row) for row in zip(*columns, strict=True)]
    unfinished = _work_folder(requests, config, work)
    shards = [requests[at : at + config.images_per_shard] for at in range(0, len(requests), config.images_per_shard)]
    with progress_bar(total=len(requests), description="generating images") as bar:
        for index, shard in enumerate(shards):
            if read_shard_stats(unfinished, index) is not None:
                filters.recall(pair.image for pair in read_shard(unfinished, index))
                bar.update(len(shard))
                continue
            pairs, rejected = _generate_shard(index, shard, text_to_image, filters, bar.update)
            write_shard(unfinished, index, pairs, _stats(rejected, config))
    with build_folder(folder) as whole:
        shutil.copytree(unfinished, whole, dirs_exist_ok=True)
        manifest = write_manifest(whole, identity(config))
    shutil.rmtree(work)
    return manifest


def identity(config: GeneratorConfig) -> dict[str, Any]:
    """Returns the settings that decide what the images look like. The batch size does: it moves the last bits."""
    return config.model_dump(exclude={"images_per_shard": True, "max_redraws": True, "filters": {"max_redraws"}})


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


def _work_folder(requests: list[Request], config: GeneratorConfig, work: Path) -> Path:
    """Returns the folder for these prompts and settings, and removes unfinished work for other ones."""
    content = json.dumps([[vars(request) for request in requests], identity(config), config.images_per_shard])
    folder = work / hashlib.sha256(content.encode()).hexdigest()[:16]
    for other in work.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
