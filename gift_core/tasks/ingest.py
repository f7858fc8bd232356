"""Turns a data set, whatever its source, into the task artifact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.artifacts.atomic import require_free_bytes
from gift_core.artifacts.task import LabelledImage, TaskInfo, write_task
from gift_core.config import FolderTaskConfig, IngestConfig, MiniTaskConfig, TaskConfig
from gift_core.progress import progress_bar

if TYPE_CHECKING:
    from gift_core.tasks.source import TaskSource


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
    source = open_source(name, config, image_format=ingest_config.image_format, seed=seed, root=root)
    require_free_bytes(folder, source.expected_bytes, f"ingest {name}")
    info = TaskInfo(name, source.class_names, source.templates, config.source)
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


def open_source(name: str, config: TaskConfig, *, image_format: str, seed: int, root: Path) -> TaskSource:
    """Returns the source that a task's row describes; each imports what it alone needs."""
    if isinstance(config, FolderTaskConfig):
        from gift_core.tasks.folder import folder_source

        return folder_source(name, config, root=root, image_format=image_format, seed=seed)
    assert isinstance(config, MiniTaskConfig)
    from gift_core.tasks.mini_source import mini_source

    return mini_source(name, config, image_format=image_format, seed=seed)
