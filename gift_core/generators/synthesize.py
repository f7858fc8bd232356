"""Draws a task's synthetic image-text pairs: shard by shard, resumable, always exactly one image a prompt."""

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
from gift_core.generators.gates import REASONS, Gates
from gift_core.generators.rejects import BLACK, Verdict, is_black, require_another_try
from gift_core.progress import progress_bar
from gift_core.seeds import seed_for

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from gift_core.config.generator import GeneratorConfig
    from gift_core.generators.pipeline import TextToImage

BYTES_A_PIXEL = 3  # an upper bound: PNG and JPEG stay below the raw size
FORMATS: dict[str, dict[str, Any]] = {"png": {"format": "PNG"}, "jpg": {"format": "JPEG", "quality": 95}}


@dataclass(frozen=True)
class Request:
    """One row of the prompts: what to draw and the seed that its images' seeds come from."""

    prompt_id: int
    prompt: str
    seed: int


def synthesize(
    prompts: pd.DataFrame, text_to_image: TextToImage, folder: Path, *, work: Path, gates: Gates
) -> dict[str, Any]:
    """Draws one pair a row of `prompts` into `folder` (img2dataset's layout) and returns the manifest.

    Finished shards wait in `work`, under the fingerprint of prompts and settings, until all are there: an interrupted
    draw goes on at the first missing shard, and `folder` appears only when it is whole.
    Raises UserError when an image stays black, or no try of it passes `gates`, as often as the settings allow, or when
    the disk is too small.
    """
    config = text_to_image.config
    require_free_bytes(folder, len(prompts) * config.size**2 * BYTES_A_PIXEL, "synthesize: the drawn images")
    columns = (prompts[name].tolist() for name in ("prompt_id", "prompt", "seed"))
    requests = [Request(*row) for row in zip(*columns, strict=True)]
    unfinished = _work_folder(requests, config, work)
    shards = [requests[at : at + config.images_per_shard] for at in range(0, len(requests), config.images_per_shard)]
    with progress_bar(total=len(requests), description="drawing images") as bar:
        for index, shard in enumerate(shards):
            if read_shard_stats(unfinished, index) is not None:
                gates.recall(pair.image for pair in read_shard(unfinished, index))
                bar.update(len(shard))
                continue
            pairs, refused = _draw_shard(index, shard, text_to_image, gates, bar.update)
            write_shard(unfinished, index, pairs, _stats(refused, config))
    with build_folder(folder) as whole:
        shutil.copytree(unfinished, whole, dirs_exist_ok=True)
        manifest = write_manifest(whole, identity(config))
    shutil.rmtree(work)
    return manifest


def identity(config: GeneratorConfig) -> dict[str, Any]:
    """Returns the settings that decide how an image looks; the batch size is one (it moves the last bits of floats)."""
    return config.model_dump(exclude={"images_per_shard": True, "max_redraws": True, "filters": {"max_redraws"}})


def _stats(refused: Counter[str], config: GeneratorConfig) -> dict[str, Any]:
    rejected = {} if config.filters is None else {"rejected": {reason: refused[reason] for reason in REASONS}}
    return {"redrawn": refused["black"], **rejected}


def _draw_shard(
    index: int, shard: list[Request], text_to_image: TextToImage, gates: Gates, advance: Callable[[int], object]
) -> tuple[list[Pair], Counter[str]]:
    """Returns the shard's pairs and how many images were drawn again, by reason."""
    pairs: list[Pair] = []
    refused: Counter[str] = Counter()
    for start in range(0, len(shard), text_to_image.config.batch_size):
        batch = shard[start : start + text_to_image.config.batch_size]
        images, again = _draw_batch(batch, text_to_image, gates)
        refused += again
        for position, (request, image) in enumerate(zip(batch, images, strict=True), start):
            pairs.append(Pair(pair_key(index, position), request.prompt_id, request.prompt, image))
        advance(len(batch))
    return pairs, refused


def _draw_batch(batch: list[Request], text_to_image: TextToImage, gates: Gates) -> tuple[list[bytes], Counter[str]]:
    """Draws a batch, and its black or rejected images again with their next seeds until none is left."""
    config = text_to_image.config
    images: dict[int, bytes] = {}
    refused: dict[int, list[Verdict]] = {place: [] for place in range(len(batch))}
    for attempt in itertools.count():
        missing = [place for place in range(len(batch)) if place not in images]
        if not missing:
            break
        seeds = [seed_for("synthesize", config.seed, batch[place].seed, attempt) for place in missing]
        drawn = text_to_image.draw([batch[place].prompt for place in missing], seeds)
        for place, image in zip(missing, drawn, strict=True):
            request, encoded = batch[place], _encode(image, config.image_format)
            verdict = BLACK if is_black(image) else gates.verdict(encoded, request.prompt)
            if verdict.reason is None:
                images[place] = encoded
                continue
            refused[place].append(verdict)
            require_another_try(f"prompt {request.prompt_id} ({request.prompt!r})", refused[place], config)
    counts = Counter(str(verdict.reason) for verdicts in refused.values() for verdict in verdicts)
    return [images[place] for place in range(len(batch))], counts


def _encode(image: Image.Image, image_format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **FORMATS[image_format])
    return buffer.getvalue()


def _work_folder(requests: list[Request], config: GeneratorConfig, work: Path) -> Path:
    """Returns the folder of this very draw; what other prompts or settings left unfinished in `work` is removed."""
    content = json.dumps([[vars(request) for request in requests], identity(config), config.images_per_shard])
    folder = work / hashlib.sha256(content.encode()).hexdigest()[:16]
    for other in work.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
