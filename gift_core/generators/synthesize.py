"""Generates the synthetic image-text pairs of a task, shard by shard, with exactly one image per prompt."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.prompt_files import prompts_digest
from gift_core.artifacts.shards import Manifest, Pair, copy_shard, pair_key, write_manifest
from gift_core.artifacts.tars import encode_image
from gift_core.generators.filters import BLACK, KEPT, REASONS, Verdict, check_attempts
from gift_core.generators.kept_shards import Request, Shard, ShardFolder, ShardStore
from gift_core.progress import progress_bar
from gift_core.seeds import seed_for
from gift_core.work.folder import work_folder
from gift_core.work.overlap import Copies, background, overlapped
from gift_core.work.publishing import build_folder
from gift_core.work.resumable import work_key
from gift_core.work.spread import is_offered, spread

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from PIL import Image

    from gift_core.config.experiment import GeneratorConfig
    from gift_core.generators.filters import QualityFilters
    from gift_core.generators.pipeline import TextToImage

    Tools = tuple[TextToImage, QualityFilters | None, torch.device]
logger = logging.getLogger(__name__)
ENCODERS = min(8, os.cpu_count() or 1)  # Pillow encodes without holding Python's lock
AHEAD = 2  # batches that wait while the one before them is finished: enough for the time that a shard takes to write


def synthesize(
    prompts: pd.DataFrame,
    text_to_image: TextToImage,
    folder: Path,
    *,
    work: Path,
    filters: QualityFilters | None,
    device: torch.device,
    environment: Mapping[str, str | int] | None = None,
    load_tools: Callable[[], Tools] | None = None,
) -> Manifest:
    """Generates one pair per row of `prompts` into `folder` (layout of img2dataset) and returns the manifest.

    Finished shards are kept in `work`, under a key made of all that decides them, until all are finished. So an
    interrupted run of the same code and `environment` resumes: it checks the finished shards and generates the others.
    `folder` only appears when it is complete.
    While `device` generates, threads encode, filter and write the images before, unless it is the CPU.
    Helpers generate shards, too, where `gift run` offers some (gift_core.work.spread). They call `load_tools`, which
    returns what is given here as `text_to_image`, `filters` and `device`. Each shard has the same bytes whoever
    generates it.
    Filters that compare images see all of them, in their order: with these there are no helpers.
    Raises UserError if an image is rejected more often than the settings allow, or if another process works in `work`.
    """
    config = text_to_image.config
    digest, shards = prompts_digest(prompts), shards_of(prompts, config.images_per_shard)
    if filters is not None and filters.compares_images:
        if len(shards) > 1 and is_offered():
            reason = "generator.filters.max_similarity compares each image with all before it"
            logger.info(f"no worker helps, because {reason}")
        load_tools = None
    inputs = {"prompts": digest, "generator": identity(config), "images_per_shard": config.images_per_shard}
    with work_folder(work, work_key("synthesize", environment or {}, inputs)) as unfinished:
        store = ShardFolder(unfinished)
        with (
            progress_bar(total=len(prompts), description="generating images") as bar,
            spread(
                shards,
                load_tools and partial(_load_generation, load_tools, store),
                is_done=store.is_finished,  # helpers call it, too
                helped=lambda shard: bar.update(len(shard.requests)),
                locks=unfinished / ".locks",
            ) as shards_here,
        ):
            generate(shards_here, (text_to_image, filters, device), store, bar.update)
        with build_folder(folder) as whole:
            for index in range(len(shards)):
                copy_shard(unfinished, index, whole)
            return write_manifest(whole, identity(config), digest, environment)


def identity(config: GeneratorConfig) -> dict[str, Any]:
    """Returns the settings that decide what the images look like. The batch size does: it changes the rounding.

    An optional key that is left out is not among them, so a new one changes nothing.
    """
    settings = config.model_dump(exclude={"images_per_shard": True, "max_redraws": True, "filters": {"max_redraws"}})
    required = {name for name, field in type(config).model_fields.items() if field.is_required()}
    return {name: value for name, value in settings.items() if value is not None or name in required}


def shards_of(prompts: pd.DataFrame, images_per_shard: int) -> list[Shard]:
    """Returns the shards of the rows of `prompts` (prompt_id, prompt, seed), in their order."""
    requests = [Request(*row) for row in prompts[["prompt_id", "prompt", "seed"]].itertuples(index=False, name=None)]
    starts = range(0, len(requests), images_per_shard)
    return [Shard(number, requests[at : at + images_per_shard]) for number, at in enumerate(starts)]


def _load_generation(load_tools: Callable[[], Tools], store: ShardFolder) -> Callable[[Shard], None]:
    """In a helper: returns a function that makes one shard in the work folder."""
    tools = load_tools()
    return lambda shard: generate([shard], tools, store, lambda count: None)


def generate(shards: Iterable[Shard], tools: Tools, store: ShardStore, advance: Callable[[int], object]) -> None:
    """Makes the shards that are not finished yet in `store`. `advance` gets the number of images done.

    For each batch: generate; reject; generate again what was rejected; keep.
    """
    text_to_image, filters, device = tools
    # the encoders end first, so that an interruption waits for no whole batch
    with background(1) as thread, background(ENCODERS) as encoders:
        keeping = _Keeping(store, text_to_image.config, filters, encoders, Copies(device))
        batches = _batches_of(store, shards, text_to_image.config.batch_size)
        images_of = partial(_images_of, text_to_image)
        for batch in overlapped(
            batches, images_of, keeping.keep_or_reject, thread=thread, ahead=0 if device.type == "cpu" else AHEAD
        ):
            advance(len(batch.requests))


@dataclass
class _Batch:
    """Consecutive requests of a shard, the images that are kept so far, and the verdicts on the others.

    A shard that an interrupted run has finished is one batch, and all of it `is_kept`.
    """

    shard: int
    first: int  # its position in the shard
    requests: Sequence[Request]
    is_last: bool
    is_kept: bool = False
    kept: dict[int, bytes] = field(default_factory=dict)
    rejected: dict[int, list[Verdict]] = field(default_factory=lambda: defaultdict(list))

    @property
    def missing(self) -> list[int]:
        return [] if self.is_kept else [index for index in range(len(self.requests)) if index not in self.kept]


def _batches_of(store: ShardStore, shards: Iterable[Shard], batch_size: int) -> Iterator[_Batch]:
    for shard in shards:
        requests = shard.requests
        if store.finished(shard) is not None:
            yield _Batch(shard.number, 0, requests, is_last=True, is_kept=True)
            continue
        for first in range(0, len(requests), batch_size):
            last = first + batch_size >= len(requests)
            yield _Batch(shard.number, first, requests[first : first + batch_size], is_last=last)


def _images_of(text_to_image: TextToImage, batch: _Batch) -> Sequence[Image.Image]:
    """An image for each missing request. Its seed depends on how many of its images were rejected before."""
    requests = [batch.requests[index] for index in batch.missing]
    if not requests:
        return ()
    attempts = [len(batch.rejected[index]) for index in batch.missing]
    seed = text_to_image.config.seed
    seeds = [
        seed_for("synthesize", seed, request.seed, attempt) for request, attempt in zip(requests, attempts, strict=True)
    ]
    return text_to_image.generate([request.prompt for request in requests], seeds)


@dataclass
class _Keeping:
    """What happens to generated images: encoding, filters, keeping the shards in `store`. Batches come in order."""

    store: ShardStore
    config: GeneratorConfig
    filters: QualityFilters | None
    encoders: Executor
    copies: Copies
    pairs: list[Pair] = field(default_factory=list)  # of the current shard
    counts: Counter[str] = field(default_factory=Counter)

    def keep_or_reject(self, batch: _Batch, images: Sequence[Image.Image]) -> bool:
        """Keeps or rejects images for batch.missing. Returns whether nothing is missing now, so that it is stored."""
        with self.copies.stream():
            if batch.is_kept:
                if self.filters is not None and self.filters.compares_images:
                    pairs = self.store.finished(Shard(batch.shard, batch.requests))
                    self.filters.recall(pair.image for pair in pairs or ())
                return True
            encoded = self.encoders.map(partial(encode_image, image_format=self.config.image_format), images)
            for index, image, data in zip(batch.missing, images, encoded, strict=True):
                request = batch.requests[index]
                if image.getbbox() is None:  # every pixel is 0: the safety checkers of diffusers return such images
                    verdict = BLACK
                else:
                    verdict = KEPT if self.filters is None else self.filters.verdict(data, request.prompt)
                if verdict.reason is None:
                    batch.kept[index] = data
                    continue
                batch.rejected[index].append(verdict)
                check_attempts(f"prompt {request.prompt_id} ({request.prompt!r})", batch.rejected[index], self.config)
        if not batch.missing:
            self._store(batch)
        return not batch.missing

    def _store(self, batch: _Batch) -> None:
        for index, request in enumerate(batch.requests):
            key = pair_key(batch.shard, batch.first + index)
            self.pairs.append(Pair(key, request.prompt_id, request.prompt, batch.kept[index]))
        self.counts.update(str(verdict.reason) for verdicts in batch.rejected.values() for verdict in verdicts)
        if batch.is_last:
            stats: dict[str, Any] = {"redrawn": self.counts["black"]}
            if self.config.filters is not None:
                stats["rejected"] = {reason: self.counts[reason] for reason in REASONS}
            self.store.keep(batch.shard, self.pairs, stats)
            self.pairs, self.counts = [], Counter()
