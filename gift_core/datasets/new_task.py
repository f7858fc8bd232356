"""Adds a user's own data set as the next task: its row and its step in params.yaml, and its images in data/0_raw."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.config.checks import check_name
from gift_core.config.editing import append_task
from gift_core.config.experiment import Config
from gift_core.config.loading import parse_config
from gift_core.config.tasks import MiniTaskConfig
from gift_core.datasets.dataset import Dataset
from gift_core.datasets.ingest import open_dataset
from gift_core.datasets.spelling import require_utf8
from gift_core.errors import UserError, no_such_path
from gift_core.layout import Layout
from gift_core.params_edit import ParamsEdit, read_params
from gift_core.work.publishing import build_folder, require_free_bytes

TEMPLATE = "a photo of a {}."
TEST_FRACTION, PROBE_FRACTION = 0.2, 0.99  # nothing is learned of a probe: one image of a class is left at least
COLUMNS = {"image_column": "image", "label_column": "label"}
PAIR_COLUMNS = {"image_column": "image", "caption_column": "caption"}
LABEL = "cls"
VOCABULARY_CAPTIONS = 200  # of a task of pairs: as many as a task of many classes has names


def new_row(
    images: Path,
    *,
    templates: Sequence[str],
    shared: Mapping[str, Any],
    class_names: Path | None,
    shots: int | None,
    table: Mapping[str, Any],
    tars: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the row of params.yaml without its `path`.

    `table` may have table, image_column, label_column and split_column; `tars` may have train, test and label; `shared`
    has test_fraction, on_bad_image, and maybe on_duplicate. None counts as absent. A test_fraction without a split
    column asks for a split by seed, even if the table has a column of splits. UserError for options of a source that is
    not named, and for a file that is not in `images`.
    """
    row: dict[str, Any] = {
        **_source(images, table, tars, shared, COLUMNS),
        "templates": list(templates) or [TEMPLATE],
        **shared,
    }
    if class_names is not None:
        row["class_names"] = _relative(images, class_names, "--class-names")
    if shots is not None:
        row["shots"] = shots
    return row


def new_pairs_row(
    images: Path,
    *,
    shared: Mapping[str, Any],
    vocabulary_captions: int | None,
    table: Mapping[str, Any],
    tars: Mapping[str, Any],
    of_classes: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the row of a task of image-caption pairs without its `path`.

    `table` may have table, image_column, caption_column and split_column; `tars` may have train and test. `of_classes`
    are options by their names that only a task with classes has: UserError if one is given, and as in new_row.
    """
    for option in _given({name: value or None for name, value in of_classes.items()}):
        what = f"{option} is of tasks with classes, and --captions of tasks without"
        raise UserError(f"gift add-task: {what}. Remove one of them.")
    source = _source(images, table, tars, shared, PAIR_COLUMNS)
    source.pop("label", None)
    return {
        **source,
        "source": "pairs",
        "vocabulary_captions": VOCABULARY_CAPTIONS if vocabulary_captions is None else vocabulary_captions,
        **shared,
    }


def _source(
    images: Path,
    table: Mapping[str, Any],
    tars: Mapping[str, Any],
    shared: Mapping[str, Any],
    columns: Mapping[str, str],
) -> dict[str, Any]:
    listed, tars = _given(table), _given(tars)
    if "table" in listed and "train" in tars:
        raise UserError("gift add-task: --table and --webdataset are two sources. Give only one of them.")
    if listed and "table" not in listed:
        options = ", ".join(f"--{column.replace('_', '-')}" for column in columns)
        raise UserError(f"gift add-task: {options} and --split-column need --table. Add it.")
    if tars and "train" not in tars:
        raise UserError("gift add-task: --webdataset-test and --label need --webdataset. Add it.")
    if listed:
        listed["table"] = _relative(images, Path(listed["table"]), "--table")
        if shared["test_fraction"] is not None:
            listed.setdefault("split_column", None)
        return {"source": "table", "table": None, **columns, **listed}
    if tars:
        return {"source": "webdataset", "label": LABEL, **tars}
    return {"source": "folder"}


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _relative(images: Path, file: Path, option: str) -> str:
    """The path of a file relative to `images`. It may be given relative to `images` or to the working folder."""
    if not file.is_absolute() and (images / file).is_file():
        return file.as_posix()
    if not file.is_file():
        inside = file if file.is_absolute() else images / file
        raise UserError(f"gift add-task: {option} {no_such_path(inside, 'file')}")
    relative = os.path.relpath(file.absolute(), images.absolute())
    if relative.startswith(".."):
        what = f"is outside {images}, which is watched for changes"
        raise UserError(f"gift add-task: {option} {file}: {what}. Move it there.")
    return Path(relative).as_posix()


@dataclass(frozen=True)
class Addition(ParamsEdit):
    """A task that is about to be added. `bring` links or copies the images to `target`; None if they are there."""

    dataset: Dataset
    images: Path
    target: Path
    bring: Callable[[Path, Path], None] | None

    def carry_out(self) -> None:
        """Links or copies the images, then replaces params.yaml atomically. After an error both are as before."""
        if self.bring is not None:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self.bring(self.images, self.target)
        try:
            super().carry_out()
        except BaseException:
            if self.bring is not None:
                _remove(self.target)
            raise


def plan_task(
    name: str,
    row: Mapping[str, Any],
    images: Path,
    *,
    params: Path,
    root: Path,
    factor: float | None,
    bring: str | None,
) -> Addition:
    """Returns the addition of the data set in the folder `images`, described by `row` (without its path).

    `bring` is link or copy for images outside data/0_raw, None for images in it. Nothing is written. The row gets a
    test_fraction only for a data set without a test split. Without a `factor`, the task becomes a probe: no step learns
    it.

    Raises:
        UserError: the name is taken, the images are in the wrong folder, the row is refused by the checks of
            params.yaml, or the data set is no sound task.
    """
    for key, what in check_name(f"tasks.{name}", name):
        raise UserError(f"{params.name}: {key}: {what}")
    target = _target(name, images, root, bring)
    fraction = row["test_fraction"]
    row = {"source": row["source"], "path": target.relative_to(root).as_posix(), **row}
    default = PROBE_FRACTION if factor is None else TEST_FRACTION
    row["test_fraction"] = default if fraction is None else fraction
    for key, value in row.items():
        for text in value if isinstance(value, list) else [value]:
            require_utf8(str(text), f"gift add-task: {key}")
    before = read_params(params)
    parse_config(before, params.name)
    after, new = _with_task(before, name, row, factor, params.name)
    task = new.tasks[name]
    assert not isinstance(task, MiniTaskConfig)
    dataset = open_dataset(name, task.model_copy(update={"path": str(images.absolute())}), seed=new.seed, root=root)
    if not dataset.by_seed and fraction is not None:
        raise UserError(f"--test-fraction {fraction:g}: the data set has a test split of its own. Leave it out.")
    if not dataset.by_seed:
        del row["test_fraction"]
        after, new = _with_task(before, name, row, factor, params.name)
    bringing = BRING[bring] if bring and not os.path.lexists(target) else None
    return Addition(params, before, after, new, dataset, images, target, bringing)


def _with_task(before: str, name: str, row: Mapping[str, Any], factor: float | None, params: str) -> tuple[str, Config]:
    after = append_task(before, name, row, learning_rate_factor=factor)
    return after, parse_config(after, params)


def _target(name: str, images: Path, root: Path, bring: str | None) -> Path:
    """Where the images are, or will be: a folder of data/0_raw."""
    if not images.is_dir():
        raise UserError(f"--images {no_such_path(images, 'folder')} Name the folder that has the images.")
    raw = Layout(root).raw("")
    location = Path(os.path.normpath(images.absolute()))
    inside = os.path.relpath(location.parent.resolve() / location.name, raw.resolve())
    if inside == ".":
        raise UserError(f"--images {images}: this folder has all data sets. Name the folder of one of them.")
    _require_apart(images, {"the project": root.resolve(), str(raw): raw.resolve()})
    if not inside.startswith(".."):
        if bring is not None:
            raise UserError(f"--{bring}: {images} is already in {raw}. Remove --{bring}.")
        return raw / inside
    if bring is None:
        what = f"is outside {raw}, where data sets have the same paths on every machine"
        remedy = f"Add --link (a link in {raw}, nothing is copied) or --copy"
        raise UserError(f"--images {images}: {what}. {remedy}.")
    target = Layout(root).raw(name)
    if bring == "link" and target.is_symlink() and target.resolve() == images.resolve():
        return target  # of a task that was removed
    if os.path.lexists(target):
        raise UserError(f"--{bring}: {target} already exists. Choose another name, or add it with --images {target}.")
    return target


def _require_apart(images: Path, own: Mapping[str, Path]) -> None:
    """Raises UserError if a folder of `own` is below `images`, also through a link: the data set would have itself."""
    seen: set[str] = set()
    for parent, folders, _ in os.walk(images, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()  # a link in a circle
        seen.add(real)
        for name, folder in own.items():
            if folder.is_relative_to(real):
                what = f"{parent} contains {name}, so the data set would contain itself"
                raise UserError(f"--images {images}: {what}. Name a folder that has only the images.")


def _link(images: Path, target: Path) -> None:
    target.symlink_to(images.resolve(), target_is_directory=True)


def _copy(images: Path, target: Path) -> None:
    needed = sum(path.stat().st_size for path in images.rglob("*") if path.is_file())
    require_free_bytes(target, needed, "gift add-task --copy")
    with build_folder(target) as unfinished:
        for parent, _, files in os.walk(images, followlinks=True):
            folder = unfinished / os.path.relpath(parent, images)
            folder.mkdir(exist_ok=True)  # with no modes of the source: copytree's folders may be read-only
            for file in files:
                if Path(parent, file).is_file():
                    shutil.copyfile(Path(parent, file), folder / file)


def _remove(target: Path) -> None:
    if target.is_symlink():
        target.unlink()
    else:
        shutil.rmtree(target, ignore_errors=True)


BRING: Mapping[str, Callable[[Path, Path], None]] = {"link": _link, "copy": _copy}
