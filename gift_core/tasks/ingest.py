"""Turns a data set, whatever its source, into the task artifact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gift_core.artifacts.atomic import require_free_bytes
from gift_core.artifacts.task import LabelledImage, TaskInfo, write_task
from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import TaskConfig
from gift_core.progress import progress_bar
from gift_core.tasks.opening import open_source


def ingest(
    name: str,
    config: TaskConfig,
    folder: Path,
    *,
    ingest_config: IngestConfig,
    seed: int,
    root: Path = Path(),
) -> TaskInfo:
    """Writes the task into `folder` and returns what its task.json says; `root` is where the config's paths start.

    UserError for what the source cannot give (unknown name, no images, undecodable ones ...) and for a full disk;
    then nothing stands in `folder`, or what stood there before.
    """
    source = open_source(name, config, stored=ingest_config, seed=seed, root=root)
    require_free_bytes(folder, source.expected_bytes, f"ingest {name}")
    info = TaskInfo(name, source.class_names, source.templates, config.source, notes=source.notes)
    with progress_bar(sum(source.counts.values()), f"ingest {name}") as bar:

        def counted(images: Iterator[LabelledImage]) -> Iterator[LabelledImage]:
            for image in images:
                yield image
                bar.update()

        return write_task(
            folder,
            info,
            counted(source.train),
            counted(source.test),
            images_per_shard=ingest_config.images_per_shard,
            skipped=source.skipped,
        )
