"""Tasks of the miniature benchmark, and what all sources of a user's data have in common."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import webdataset

from gift_core.artifacts.task import TaskInfo, iterate_task
from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import FolderTaskConfig, MiniTaskConfig, TableTaskConfig, WebDatasetTaskConfig
from gift_core.datasets.ingest import ingest
from gift_core.errors import UserError
from gift_core.mini.world import mini_task
from tests.artifacts.damage import png, tree_hash

INGEST = IngestConfig(images_per_shard=50, image_format="png", shorter_side=None)


def mini(root: Path, task: str, train: int = 60, test: int = 30, *, seed: int = 1) -> TaskInfo:
    """Ingests a task of the miniature benchmark into root/task."""
    config = MiniTaskConfig(source="mini", path="data/mini", train_images=train, test_images=test)
    return ingest(task, config, root / task, ingest_config=INGEST, seed=seed)


def test_a_mini_task_has_its_classes_and_templates(tmp_path: Path) -> None:
    info, task = mini(tmp_path, "letters"), mini_task("letters")
    assert (info.class_names, info.templates) == (task.class_names, task.templates)
    assert (info.counts, info.source) == ({"train": 60, "test": 30}, "mini")
    assert {label for _, label in iterate_task(tmp_path / "letters", "train")} == set(range(26))


def test_the_images_depend_on_the_seed_only(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        mini(tmp_path / name, "textures", 24, 12, seed=seed)
    first, again, other = (tree_hash(tmp_path / name / "textures") for name in "abc")
    assert first == again != other


def test_an_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'letters'"):
        mini(tmp_path, "leters")


def test_fewer_images_than_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        mini(tmp_path, "letters", test=25)
    expected = "params.yaml: tasks.letters.test_images: 25 images are fewer than the 26 classes. Write 26 or more."
    assert str(caught.value) == expected


def test_more_digits_than_were_written_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="digits"):
        mini(tmp_path, "digits", train=100_000)
    assert list(tmp_path.iterdir()) == []


ROW: dict[str, Any] = {"templates": ("{}",), "test_fraction": 0.5, "on_bad_image": "refuse"}
LABELS = ("t-shirt", "great_tit", " sea__lion ", "Zaunko\u0308nig", "\u00e9clair")
NAMES = {"t-shirt", "great tit", "sea lion", "Zaunk\u00f6nig", "\u00e9clair"}


def folder_of(root: Path) -> FolderTaskConfig:
    for number, label in enumerate(LABELS * 2):
        (root / "folder" / label).mkdir(parents=True, exist_ok=True)
        (root / "folder" / label / f"{number}.png").write_bytes(png(number))
    return FolderTaskConfig(source="folder", path="folder", **ROW)


def table_of(root: Path) -> TableTaskConfig:
    (root / "table").mkdir()
    with (root / "table" / "all.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label"))
        for number, label in enumerate(LABELS * 2):
            (root / "table" / f"{number}.png").write_bytes(png(number))
            writer.writerow((f"{number}.png", label))
    return TableTaskConfig(
        source="table", path="table", table="all.csv", image_column="image", label_column="label", **ROW
    )


def tars_of(root: Path) -> WebDatasetTaskConfig:
    (root / "tars").mkdir()
    with webdataset.TarWriter(str(root / "tars" / "all.tar")) as tar:
        for number, label in enumerate(LABELS * 2):
            tar.write({"__key__": str(number), "png": png(number), "txt": label})
    return WebDatasetTaskConfig(source="webdataset", path="tars", train="*.tar", label="txt", **ROW)


@pytest.mark.parametrize("write", [folder_of, table_of, tars_of])
def test_labels_give_the_same_class_names_whatever_they_are_from(write: Any, tmp_path: Path) -> None:
    info = ingest("x", write(tmp_path), tmp_path / "task", ingest_config=INGEST, seed=1, root=tmp_path)
    assert set(info.class_names) == NAMES
    assert info.notes == ()
