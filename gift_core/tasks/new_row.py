"""From what a person says of a data set to the row of params.yaml that describes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gift_core.errors import UserError

TEMPLATE = "a photo of a {}."
COLUMNS = {"image_column": "image", "label_column": "label"}
LABEL = "cls"


def new_row(
    images: Path,
    *,
    templates: Sequence[str],
    test_fraction: float,
    on_bad_image: str,
    class_names: Path | None,
    shots: int | None,
    table: Mapping[str, Any],
    tars: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the row as params.yaml would have it, without its `path`.

    `table` may hold table, image_column, label_column and split_column, `tars` train, test and label; None is left
    out. UserError for both at once, for a key of a source that isn't named, and for a file that is not in `images`.
    """
    row: dict[str, Any] = {
        **_source(images, _given(table), _given(tars)),
        "templates": list(templates) or [TEMPLATE],
        "test_fraction": test_fraction,
        "on_bad_image": on_bad_image,
    }
    if class_names is not None:
        row["class_names"] = _below(images, class_names, "--class-names")
    if shots is not None:
        row["shots"] = shots
    return row


def _source(images: Path, table: dict[str, Any], tars: dict[str, Any]) -> dict[str, Any]:
    if "table" in table and "train" in tars:
        raise UserError("gift add-task: --table and --webdataset name two sources. Give one of them.")
    if table and "table" not in table:
        raise UserError("gift add-task: --image-column, --label-column and --split-column belong to --table. Add it.")
    if tars and "train" not in tars:
        raise UserError("gift add-task: --webdataset-test and --label belong to --webdataset. Add it.")
    if table:
        file = _below(images, Path(table.pop("table")), "--table")
        return {"source": "table", "table": file, **COLUMNS, **table}
    if tars:
        return {"source": "webdataset", "label": LABEL, **tars}
    return {"source": "folder"}


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _below(images: Path, file: Path, option: str) -> str:
    """The file's name below the images' folder, whether it was given from there or from here."""
    if not file.is_absolute() and (images / file).is_file():
        return file.as_posix()
    if not file.is_file():
        raise UserError(f"gift add-task: {option} {file}: there is no such file, neither here nor in {images}.")
    relative = os.path.relpath(file.absolute(), images.absolute())
    if relative.startswith(".."):
        what = f"lies outside {images}, the folder that is watched for changes"
        raise UserError(f"gift add-task: {option} {file}: {what}. Move it there.")
    return Path(relative).as_posix()
