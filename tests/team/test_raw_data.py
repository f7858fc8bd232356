"""Raw data that one clone pushes, another one pulls."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.clone import clone_of, commit, content, new_project
from tests.datasets.folders import picture
from tests.team.toy import use_store

FOLDERS = ("photos", "models/my_clip", "generators/my_sd", "prompts/lists", "reference/pairs")


def test_two_clones_have_the_same_raw_bytes(tmp_path: Path) -> None:
    first = new_project(tmp_path / "first")
    use_store(first, tmp_path / "store")
    for number, name in enumerate(FOLDERS):
        picture(first.folder / "data" / "0_raw" / name / "1.jpg", (60 * number, 7, len(name)))
    assert first.run("git", "status", "--porcelain", "--untracked-files=all", "data") == ""  # git ignores raw data
    first.run("dvc", "add", *(f"data/0_raw/{name}" for name in FOLDERS))
    commit(first, "raw data")
    tracked = first.run("git", "ls-files", "data/0_raw").split()
    assert {f"data/0_raw/{name}.dvc" for name in FOLDERS} < set(tracked)
    assert "files pushed" in first.run("dvc", "push")
    second = clone_of(first, tmp_path / "second")
    second.run("dvc", "pull", "--allow-missing")  # the results: nobody has run the pipeline yet
    raw = content(second.folder / "data" / "0_raw")
    assert raw == content(first.folder / "data" / "0_raw")
    assert len([name for name in raw if name.endswith(".jpg")]) == len(FOLDERS)
    assert second.run("git", "status", "--porcelain") == ""


def test_without_its_raw_data_a_clone_keeps_the_ingested_task(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    photos, task = (project.folder / "data" / name / "photos" for name in ("0_raw", "1_tasks"))
    for number in range(8):
        picture(photos / f"class_{number % 2}" / f"{number}.jpg", (30 * number, 7, 7))
    params = project.params
    row = {"source": "folder", "path": "data/0_raw/photos", "templates": ["a {}."], "test_fraction": 0.5}
    params["tasks"] = {"photos": {**row, "on_bad_image": "refuse"}}
    params["sequence"] = [{"task": "photos", "after": "../pretrained", "learning_rate_factor": 1.0}]
    project.write_params(params)
    project.run("dvc", "repro", "ingest@photos")
    before = content(task)
    shutil.rmtree(photos)
    said = project.run("dvc", "repro", "ingest@photos", expect=255)
    assert "No such file or directory" in said
    assert content(task) == before
    params["training"]["iterations"] += 1
    project.write_params(params)
    said = project.run("dvc", "repro", "--allow-missing", "ingest@photos")
    assert "data/0_raw/photos is missing. To keep data/1_tasks/photos as it is: dvc repro --allow-missing" in said
    assert "Running stage 'ingest" not in said
    assert content(task) == before
    shutil.rmtree(task)
    said = project.run("gift", "why", "ingest@photos")
    assert "  data/0_raw/photos is missing. To do without it: dvc repro --allow-missing\n" in said
    assert "its output" not in said
    project.run("dvc", "checkout", "--allow-missing", "data/1_tasks/photos")
    assert content(task) == before
