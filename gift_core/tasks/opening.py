"""From a task's row to its images, whatever its source; each source imports what it alone needs."""

from __future__ import annotations

from pathlib import Path

from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import (
    CatalogueTaskConfig,
    FolderTaskConfig,
    MiniTaskConfig,
    TableTaskConfig,
    TaskConfig,
    WebDatasetTaskConfig,
)
from gift_core.tasks.listing import Listing
from gift_core.tasks.reader import read_listing
from gift_core.tasks.shots import draw_shots
from gift_core.tasks.source import TaskSource

ListedTaskConfig = FolderTaskConfig | TableTaskConfig | WebDatasetTaskConfig | CatalogueTaskConfig


def open_source(name: str, config: TaskConfig, *, stored: IngestConfig, seed: int, root: Path) -> TaskSource:
    """Returns the source that a task's row describes; `root` is where its path starts. UserError as the source's."""
    if isinstance(config, MiniTaskConfig):
        from gift_core.tasks.mini_source import mini_source

        return mini_source(name, config, image_format=stored.image_format, seed=seed)
    listing = open_listing(name, config, seed=seed, root=root)
    place = f"params.yaml: tasks.{name}.path: {config.path}"
    return read_listing(listing, place, on_bad_image=config.on_bad_image, stored=stored)


def open_listing(name: str, config: ListedTaskConfig, *, seed: int, root: Path) -> Listing:
    """Returns the images that a row names, few-shot where it says so, before any of them is decoded."""
    listing = _list_images(name, config, seed=seed, root=root)
    if config.shots is None:
        return listing
    return draw_shots(listing, config.shots, task=name, seed=seed)


def _list_images(name: str, config: ListedTaskConfig, *, seed: int, root: Path) -> Listing:
    if isinstance(config, FolderTaskConfig):
        from gift_core.tasks.folder import folder_listing

        return folder_listing(name, config, root=root, seed=seed)
    if isinstance(config, TableTaskConfig):
        from gift_core.tasks.table import table_listing

        return table_listing(name, config, root=root, seed=seed)
    if isinstance(config, WebDatasetTaskConfig):
        from gift_core.tasks.webdataset import webdataset_listing

        return webdataset_listing(name, config, root=root, seed=seed)
    from gift_core.tasks.catalogue.listing import catalogue_listing

    return catalogue_listing(name, config, root=root)
