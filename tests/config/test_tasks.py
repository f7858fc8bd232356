"""Rows of tasks that their types allow and the pipeline cannot run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.loading import load_config
from gift_core.config.tasks import MADE
from gift_core.errors import UserError

FOLDER: dict[str, Any] = {
    "source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}."], "test_fraction": 0.2,
    "on_bad_image": "refuse",
}  # fmt: skip
TABLE = {**FOLDER, "source": "table", "table": "labels.csv", "image_column": "image", "label_column": "label"}
TARS = {**FOLDER, "source": "webdataset", "train": "train-{000..005}.tar", "label": "cls"}
Write = Callable[[dict[str, Any]], Path]


@pytest.mark.parametrize(
    "row",
    [
        FOLDER, TABLE, TARS, {**FOLDER, "path": "photos"}, {**FOLDER, "class_names": {"0": "wren", "1": "owl"}},
        {**FOLDER, "class_names": "lists/names.txt", "shots": 16}, {**TABLE, "table": "lists/a.parquet"},
        {**TARS, "test": "test/*.tar::more/{a,b}.tar", "label": "json:bird"},
    ],
)  # fmt: skip
def test_sound_rows_pass(row: dict[str, Any], mini_params: dict[str, Any], write_params: Write) -> None:
    mini_params["tasks"]["birds"] = row
    load_config(write_params(mini_params))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**FOLDER, "path": "/data/birds"}, "path: /data/birds is outside the project"),
        ({**FOLDER, "path": "data/0_raw/../../../birds"}, "is outside the project"),
        ({**FOLDER, "path": "."}, "path: . is the whole project. Put the data into a folder of data/0_raw."),
        ({**FOLDER, "path": "data"}, "path: data overlaps with data/1_tasks, which the pipeline writes"),
        ({**FOLDER, "templates": ["{} and {}"]}, "templates: '{} and {}' should contain {} for the class name once"),
        ({**FOLDER, "templates": ["a {}.", "a {}."]}, "templates: 'a {}.' is listed more than once."),
        ({**FOLDER, "class_names": "../names.txt"}, "class_names: ../names.txt is outside the task's path"),
        ({**FOLDER, "class_names": {"a": "wren", "b": "wren "}}, "class_names: a, b have the same name, 'wren'"),
        ({**TABLE, "table": "labels.xlsx"}, "table: labels.xlsx is not a supported table. Save it as one of .csv"),
        ({**TABLE, "label_column": "image"}, "label_column: 'image' is also the image_column"),
        ({**TABLE, "split_column": "label"}, "split_column: 'label' is also the image_column or the label_column"),
        ({**TARS, "test": "a.tar::../b.tar"}, "test: '../b.tar' is outside the task's path"),
        ({**TARS, "label": ".cls"}, "label: .cls starts with a dot. Write cls."),
        ({**TARS, "label": "json:"}, "label: the key is missing. Write json:<key>"),
    ],
)  # fmt: skip
def test_unsound_rows_are_refused(
    row: dict[str, Any], expected: str, mini_params: dict[str, Any], write_params: Write
) -> None:
    mini_params["tasks"]["birds"] = row
    with pytest.raises(UserError) as caught:
        load_config(write_params(mini_params))
    (line,) = str(caught.value).splitlines()
    assert line.startswith("params.yaml: tasks.birds.")
    assert expected in line


def test_the_folders_that_the_pipeline_writes_are_those_of_dvc_yaml(project: Path) -> None:
    stages = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs = [out for stage in stages.values() for out in stage.get("do", stage).get("outs", []) if isinstance(out, str)]
    assert outs
    assert [out for out in outs if not out.startswith(tuple(f"{made}/" for made in MADE))] == []
