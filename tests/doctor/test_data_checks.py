"""Data sets: missing, empty, incomplete or complete, and their numbers of classes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from PIL import Image

from gift_core.doctor.data_checks import check_data
from gift_core.doctor.examine import summarize
from tests.datasets.catalogue.trees import make_tree
from tests.doctor.projects import make_project, own_project


def make_images(folder: Path, *, classes: int = 3) -> None:
    """The image folder of the preset bring_your_own."""
    for label in range(classes):
        folder_of_class = folder / "data/0_raw/my_task" / f"class_{label}"
        folder_of_class.mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (8, 8), (40 * label, 10 * number, 0)).save(folder_of_class / f"{number}.png")


def test_an_empty_folder_is_a_fail_and_with_ingested_data_suggests_allow_missing(tmp_path: Path) -> None:
    project, folder = own_project(tmp_path), tmp_path / "data/0_raw/my_task"
    folder.mkdir(parents=True)
    (finding,) = check_data(replace(project, quick=True))
    assert (finding.mark, finding.found) == ("fail", f"{folder} is empty")
    assert "docs/your_own_task.md" in finding.remedy and "--allow-missing" not in finding.remedy
    (tmp_path / "data/1_tasks/my_task").mkdir(parents=True)
    (tmp_path / "data/1_tasks/my_task/task.json").write_text("{}", encoding="utf-8")
    (finding,) = check_data(replace(project, quick=True))
    assert finding.remedy.endswith("dvc repro --allow-missing.")


def test_the_images_of_a_folder_are_counted_and_what_is_left_out_is_a_warning(tmp_path: Path) -> None:
    make_images(tmp_path)
    (tmp_path / "data/0_raw/my_task/notes.txt").touch()
    project = own_project(tmp_path)
    assert list(check_data(replace(project, quick=True))) == []
    counted, note, few = check_data(project)
    assert (counted.mark, counted.found) == ("ok", "data/0_raw/my_task: 12 + 3 images, 3 classes")
    assert (note.mark, note.found) == ("warn", "1 file left out: 1 .txt (notes.txt).")
    assert note.remedy == "Change the data set if that is not intended."
    assert (few.mark, few.found.partition(":")[0]) == ("warn", "3 test images")
    assert "test_fraction" in few.found
    assert summarize([counted, note]) == ("0 problems, 1 warning, 1 ok", f"data my_task: {note.sentence}")
    (tmp_path / "data/0_raw/my_task").rename(tmp_path / "train")
    for split in ("train", "test"):  # the data set's own splits
        shutil.copytree(tmp_path / "train", tmp_path / "data/0_raw/my_task" / split)
    assert not any("test_fraction" in finding.found for finding in check_data(project))


def test_an_incomplete_data_set_is_a_fail_or_a_warning_if_allowed(tmp_path: Path) -> None:
    make_tree("dtd", tmp_path / "data/0_raw/dtd")
    row = {"source": "catalogue", "dataset": "dtd", "path": "data/0_raw/dtd"}
    step = [{"task": "dtd", "after": "../pretrained", "learning_rate_factor": 1.0}]
    (refused,) = check_data(make_project(tmp_path, "mtil_order_1", tasks={"dtd": row}, sequence=step))
    assert (refused.mark, "47 of 1,880 training images" in refused.found) == ("fail", True)
    allowed = make_project(tmp_path, "mtil_order_1", tasks={"dtd": {**row, "allow_partial": True}}, sequence=step)
    assert [finding.mark for finding in check_data(allowed)] == ["ok", "warn"]
