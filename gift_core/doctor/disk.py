"""How much disk the experiment takes, and whether it is free: an estimate, documented in docs/doctor.md."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.config.tasks import CatalogueTaskConfig, MiniTaskConfig, TaskConfig
from gift_core.doctor.finding import Finding, Scene, gigabytes
from gift_core.doctor.sizes import embedding_and_parameters
from gift_core.doctor.store import read_settings
from gift_core.layout import Layout

WEIGHT_BYTES = 4
PIXEL_BYTES = {"jpg": 0.4, "png": 1.6}  # of a drawn photograph, as it is stored
LINKS = ("hardlink", "symlink", "reflink")  # kinds of DVC's cache that keep one copy


def check_disk(scene: Scene) -> Iterator[Finding]:
    """Yields, for the project's disk and that of DVC's cache, whether what is still to be written has room."""
    size, parameters = embedding_and_parameters(scene)
    wanted = artifact_bytes(scene, parameters=parameters, embedding=size)
    parts = ", ".join(f"{name} {gigabytes(needed)}" for name, needed in wanted.items())
    unknown = "" if parameters else "; the models' size is not known yet"
    found = f"artifacts of this experiment: {gigabytes(sum(wanted.values()))} ({parts}){unknown}"
    yield Finding("disk", "info", found)
    left = sum(max(0, needed - _present(scene, name)) for name, needed in wanted.items())
    for place, copies in _copies(scene.root):
        yield judge_disk(place, copies * left, shutil.disk_usage(place).free)


def _copies(root: Path) -> list[tuple[Path, int]]:
    """A folder of each disk that is written to, and how many copies of an artifact it gets."""
    cache, keeps_one = read_cache(root)
    places = [root] if keeps_one else [root, cache]
    by_disk: dict[int, list[Path]] = {}
    for place in places:
        existing = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.is_dir())
        by_disk.setdefault(existing.stat().st_dev, []).append(existing)
    return [(folders[0], len(folders)) for folders in by_disk.values()]


def judge_disk(place: Path, needed: int, free: int) -> Finding:
    """Returns whether `free` bytes hold the `needed` ones, with a tenth to spare."""
    found = f"{gigabytes(needed)} still to be written at {place.resolve()}, {gigabytes(free)} free"
    if free < needed:
        remedy = (
            "Free some, set ingest.shorter_side, run fewer methods, or keep one copy: dvc config cache.type symlink"
        )
        return Finding("disk", "fail", found, remedy)
    return Finding("disk", "ok" if 10 * free >= 11 * needed else "warn", found)


def artifact_bytes(scene: Scene, *, parameters: int, embedding: int) -> dict[str, int]:
    """Returns {kind: bytes} of what a whole run writes, once.

    tasks: the data sets' own images, stored as they are; a slice of the classes has its share. shards: steps *
    images_per_task * size^2 pixels * 0.4 (jpg) or 1.6 (png) bytes. teachers: for each method that replays, steps *
    images_per_task * 2 features of 4 bytes each number, and 4 bytes a parameter where Fisher diagonals are kept.
    models: 4 bytes a parameter for each method and step, and the pre-trained one.
    """
    config, steps = scene.config, len(scene.config.sequence)
    images = steps * config.prompts.images_per_task
    drawn = images * config.generator.size**2 * PIXEL_BYTES[config.generator.image_format]
    model = WEIGHT_BYTES * parameters
    methods = [config.methods[name] for name in config.run.methods]
    taught = sum(method.replay.reads != "none" for method in methods)
    fisher = sum(getattr(method.replay, "fisher", None) is not None for method in methods)
    return {
        "tasks": sum(stored_bytes(name, task, scene.root) for name, task in config.tasks.items()),
        "shards": int(drawn) if taught else 0,
        "teachers": taught * images * 2 * embedding * WEIGHT_BYTES + fisher * steps * model,
        "models": model * (1 + steps * len(methods)),
    }


def stored_bytes(name: str, task: TaskConfig, root: Path) -> int:
    """Returns about how many bytes a task's images take; 0 where nothing is known of it yet."""
    if isinstance(task, MiniTaskConfig):
        return (task.train_images + task.test_images) * 2_000
    if isinstance(task, CatalogueTaskConfig):
        from gift_core.tasks.catalogue.row import catalogue_row

        row = catalogue_row(task.dataset, f"params.yaml: tasks.{name}.dataset")
        share = task.classes.count / len(row.classes) if task.classes else 1.0
        return int(row.unpacked_bytes * share)
    return _size_of(root / task.path)


def read_cache(root: Path) -> tuple[Path, bool]:
    """Returns the folder of DVC's cache, and whether it is set to keep one copy of a file instead of two."""
    repository = root / ".dvc"
    settings = read_settings(root) if repository.is_dir() else {}
    kinds = settings.get("cache.type", "copy").strip("[]'").split(",")
    return repository / settings.get("cache.dir", "cache"), kinds[0].strip("' ") in LINKS


def _present(scene: Scene, kind: str) -> int:
    """The bytes that a kind's artifacts of this experiment take already."""
    return sum(_size_of(folder) for folder in _folders(scene.config, Layout(scene.root))[kind])


def _folders(config: Config, layout: Layout) -> dict[str, list[Path]]:
    steps = [step.task for step in config.sequence]
    cells = [(method, task) for method in config.run.methods for task in steps]
    return {
        "tasks": [layout.task(name) for name in config.tasks],
        "shards": [layout.shards(task) for task in steps],
        "teachers": [layout.teacher(method, task) for method, task in cells],
        "models": [layout.pretrained(), *(layout.model(method, task) for method, task in cells)],
    }


def _size_of(folder: Path) -> int:
    return sum(
        (Path(place) / name).stat().st_size
        for place, _, names in os.walk(folder)
        for name in names
        if (Path(place) / name).is_file()
    )
