"""Raw data that one clone pushes, another one pulls."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.clone import content, new_project
from tests.datasets.folders import picture


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
