"""Folders of images to ingest."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from gift_core.artifacts.task import TaskInfo, iterate_task
from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import TaskConfig
from gift_core.datasets.dataset import Dataset
from gift_core.datasets.ingest import ingest, open_dataset
from gift_core.errors import UserError

INGEST = IngestConfig(images_per_shard=4, image_format="png", shorter_side=None)
CLASSES = {"templates": ("a photo of a {}, a bird.",), "test_fraction": 0.5}
# By source, the keys of a row of params.yaml beside those that every row has.
ROWS: dict[str, dict[str, Any]] = {
    "folder": CLASSES | {"test_fraction": 0.2},
    "table": CLASSES | {"table": "labels.csv", "image_column": "image", "label_column": "label"},
    "webdataset": CLASSES | {"train": "train-*.tar", "label": "cls"},
    "hub": {
        "repository": "timm/birds", "revision": "a" * 40, "image_column": "image", "label_column": "label",
        "splits": {"train": "train", "test": "test"}, "templates": ("a {}.",),
    },
    "pairs": {"vocabulary_captions": 4, "test_fraction": 0.3},
}  # fmt: skip


def folder_row(path: str = "data/0_raw/birds", **changes: Any) -> dict[str, Any]:
    """A row of params.yaml for a folder of images, with every key that it needs."""
    row = {"source": "folder", "path": path, "templates": ["a photo of a {}."], "test_fraction": 0.2}
    return row | {"on_bad_image": "refuse"} | changes


def picture(path: Path, color: tuple[int, int, int] = (10, 20, 30), **options: Any) -> Path:
    """Writes a 3x2 image in one color in the format that the path's suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), color).save(path, **options)
    return path


def birds(root: Path, *, train: int = 3, test: int = 2) -> Path:
    """root/birds/{train,test}/{great_tit,wren}/N.png, each image in a different color."""
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate(("great_tit", "wren")):
            for number in range(count):
                picture(root / "birds" / split / name / f"{number}.png", (label, number, len(split)))
    return root / "birds"


def flat_birds(root: Path, count: int = 10) -> Path:
    """root/birds/{great_tit,wren}/N.png."""
    for label, name in enumerate(("great_tit", "wren")):
        for number in range(count):
            picture(root / "birds" / name / f"{number}.png", (label, number, 0))
    return root / "birds"


def config(source: str = "folder", **changes: Any) -> Any:
    """A row of params.yaml for root/birds."""
    row = {"source": source, "path": "birds", "on_bad_image": "refuse", **ROWS[source], **changes}
    return TypeAdapter(TaskConfig).validate_python(row)


def open_birds(root: Path, source: str = "folder", **changes: Any) -> Dataset:
    """The samples of root/birds."""
    return open_dataset("birds", config(source, **changes), seed=42, root=root)


def ingest_birds(
    root: Path, source: str = "folder", *, seed: int = 42, ingest_config: IngestConfig = INGEST, **changes: Any
) -> TaskInfo:
    """Ingests root/birds into root/task."""
    row = config(source, **changes)
    return ingest("birds", row, root / "task", ingest_config=ingest_config, seed=seed, root=root)


def refusal(root: Path, source: str = "folder", **changes: Any) -> str:
    """The message that the ingestion of root/birds is refused with; nothing may be left of it."""
    where = "path: birds" if source in ("folder", "hub") else ""
    with pytest.raises(UserError) as caught:
        ingest_birds(root, source, **changes)
    assert not (root / "task").exists()
    assert not list(root.glob(".task*"))
    assert str(caught.value).startswith(f"params.yaml: tasks.birds.{where}"), str(caught.value)
    str(caught.value).encode()  # can be printed
    return str(caught.value)


def colors(folder: Path, split: str) -> list[tuple[tuple[int, int, int], int]]:
    """[(color of the first pixel, label)] of the ingested images."""
    found = []
    for image, label in iterate_task(folder, split):
        pixel = Image.open(io.BytesIO(image)).getpixel((0, 0))
        assert isinstance(pixel, tuple)
        found.append((pixel, label))
    return found
