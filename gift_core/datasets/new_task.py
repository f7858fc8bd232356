"""Adds a user's own data set as the next task: its row and its step in params.yaml, and its images in data/0_raw."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.artifacts.table_files import text_lines
from gift_core.config.checks import check_name
from gift_core.config.editing import append_task
from gift_core.config.loading import parse_config, read_settings
from gift_core.config.params_edit import ParamsEdit
from gift_core.config.tasks import HubTaskConfig, PairsTaskConfig, UserDataConfig, asked_of, user_rows
from gift_core.datasets.card import names_in_card
from gift_core.datasets.dataset import Dataset
from gift_core.datasets.hub_dataset import HubRepository, files_of
from gift_core.datasets.image_table import find_split_column, names_by_card
from gift_core.datasets.ingest import open_dataset
from gift_core.datasets.parquet_images import unnamed_labels
from gift_core.datasets.spelling import default_class_name, require_utf8
from gift_core.errors import UserError, lookup, no_such_path
from gift_core.layout import Layout
from gift_core.work.publishing import build_folder, require_free_bytes

TEST_FRACTION, PROBE_FRACTION = 0.2, 0.99  # nothing is learned of a probe: one image of a class is left at least


def _defaults(row: type[UserDataConfig]) -> dict[str, Any]:
    """Returns the values that keys of a new row have without an option."""
    return {key: asked.new for key, asked in asked_of(row).items() if asked.new is not None}


def new_row(images: Path, given: Mapping[str, Any], *, captions: bool) -> dict[str, Any]:
    """Returns the row of params.yaml for the images of a folder, without its `path`.

    `given` has the values of all keys in the order of the row, None for those that have a default here or none. A
    table's column of splits is found. The checks of params.yaml refuse a key that the source does not have, and a file
    that is not in `images`. UserError for a table with two columns of splits.
    """
    rows = user_rows()
    source = next((name for name, row in rows.items() if row.chosen_by and given[row.chosen_by]), "folder")
    defaults = _defaults(rows[source])
    if captions:
        defaults = {key: value for key, value in defaults.items() if key in PairsTaskConfig.model_fields}
        defaults |= _defaults(PairsTaskConfig)
        if source == "table":
            defaults["caption_column"] = "caption"
    row: dict[str, Any] = {key: defaults.get(key) if value is None else value for key, value in given.items()}
    files = [key for key, asked in asked_of(rows[source]).items() if asked.metavar == "FILE"]
    for key in files:  # it may be given relative to `images` or to the working folder
        file = Path(row[key] or "")
        if file.is_file() and (file.is_absolute() or not (images / file).exists()):
            row[key] = Path(os.path.relpath(file.absolute(), images.absolute())).as_posix()
    if source == "table" and row["split_column"] is None:
        named = [row[key] for key in ("image_column", "label_column", "caption_column") if row[key] is not None]
        row["split_column"] = find_split_column(images, row["table"], "::".join(named).split("::"))
    if source == "table" and not captions and row["class_names"] is None:
        row["class_names"] = names_by_card(images, row["table"], row["label_column"])
    row = {key: value for key, value in row.items() if value is not None or key == "test_fraction"}
    return {"source": "pairs" if captions else source, **row}


def hub_row(
    repository: HubRepository, splits: Mapping[str, str], given: Mapping[str, Any], *, captions: bool
) -> dict[str, Any]:
    """Returns the row of params.yaml for a repository of the hub, without its `path`. `given` is as in new_row.

    `splits` replace those that the repository seems to have. UserError for an unknown split or column, a repository
    without images or labels, and numbers without names.
    """
    location = f"gift add-task --hub {repository.name}"
    features = repository.features
    splits = {**repository.splits, **splits}
    files_of(splits, repository.files, location)
    defaults = _defaults(PairsTaskConfig if captions else HubTaskConfig)
    if captions:
        key, pattern = ("table", "*.parquet") if features else ("train", "*.tar")
        defaults[key] = pattern
    columns: dict[str, list[str]] = {}
    if features:
        columns["image_column"] = features.images
        if captions:
            columns["caption_column"] = features.captions
        else:  # first the columns whose numbers have names, in the schema or in the card
            named = {
                label for label, names in features.labels.items() if names or names_in_card(repository.card, label)
            }
            columns["label_column"] = sorted(features.labels, key=lambda label: label not in named)
    elif not captions:
        defaults["label_column"] = given["label_column"] or given["label"] or "cls"
    for key, known in columns.items():
        if not known:
            raise UserError(f"{location}: no column can be the {key}. Name another repository or config.")
        defaults[key] = given[key] or known[0]
        for column in defaults[key].split("::"):
            lookup(dict.fromkeys(known), column, f"{location}: {key}")
    class_names = _class_names(repository, defaults.get("label_column", ""), given["class_names"], location)
    given = {**given, "class_names": class_names}
    source = {"source": "pairs" if captions else "hub", "repository": repository.name, "revision": repository.commit}
    row: dict[str, Any] = {**source, "config": repository.config, "splits": splits}
    row |= {key: defaults.get(key) if value is None else value for key, value in given.items() if key != "label"}
    return {key: value for key, value in row.items() if value is not None}


def _class_names(repository: HubRepository, column: str, file: str | None, location: str) -> dict[str, str] | None:
    """Returns {label: class name} of the lines of `file`, or of the card for numbers. None if the labels are names."""
    features = repository.features
    names = features.labels.get(column, ()) if features else ()
    if file is not None:
        chosen = text_lines(Path(file), f"{location}: --class-names")
    elif features is None or names is not None:
        return None
    else:
        chosen = [default_class_name(name) for name in names_in_card(repository.card, column)]
        if not chosen:
            raise UserError(f"{location}: {unnamed_labels(features, column)}")
    labels = names or [str(number) for number in range(len(chosen))]
    if len(labels) != len(chosen):
        problem = f"{len(chosen)} names for {len(labels)} labels"
        raise UserError(f"{location}: --class-names: {problem}. Write one a line.")
    return dict(zip(labels, chosen, strict=True))


def known_class_names(found: HubRepository, row: Mapping[str, Any]) -> list[str]:
    """Returns the class names of a row of hub_row, as far as they are known before the download."""
    if "class_names" in row:
        return [*row["class_names"].values()]
    labels = found.features.labels.get(row.get("label_column", "")) if found.features else ()
    return [default_class_name(label) for label in labels or ()]


@dataclass(frozen=True)
class Addition(ParamsEdit):
    """A task that is about to be added. `bring` ("link" or "copy") the images to `target`; None if they are there.

    `dataset` and `images` are None for a data set of the hub.
    """

    dataset: Dataset | None
    images: Path | None
    target: Path
    bring: str | None

    def carry_out(self) -> None:
        """Links or copies the images, then replaces params.yaml atomically. After an error both are as before."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.images is not None and self.bring == "link":
            self.target.symlink_to(self.images.resolve(), target_is_directory=True)
        elif self.images is not None and self.bring == "copy":
            needed = sum(path.stat().st_size for path in self.images.rglob("*") if path.is_file())
            require_free_bytes(self.target, needed, "gift add-task --copy")
            options: dict[str, Any] = {"copy_function": shutil.copyfile, "ignore_dangling_symlinks": True}
            with build_folder(self.target) as temporary:
                shutil.copytree(self.images, temporary, dirs_exist_ok=True, **options)
        try:
            super().carry_out()
        except BaseException:
            if self.bring == "link":
                self.target.unlink()
            elif self.bring == "copy":
                shutil.rmtree(self.target, ignore_errors=True)
            raise


def plan_task(
    name: str,
    row: Mapping[str, Any],
    images: Path | None,
    *,
    params: Path,
    root: Path,
    factor: float | None,
    bring: str | None = None,
) -> Addition:
    """Returns the addition of the data set in the folder `images`, described by `row` (without its path).

    None is a data set of the hub, which is not here yet. `bring` is link or copy for images outside data/0_raw, None
    for images in it. Nothing is written. The row gets a test_fraction only for a data set without a test split. Without
    a `factor`, the task becomes a probe: no step learns it. UserError for a name that is taken, images in the wrong
    folder, a row that params.yaml could not have, and a data set that is no sound task.
    """
    for key, problem in check_name(f"tasks.{name}", name):
        raise UserError(f"{params.name}: {key}: {problem}")
    target = Layout(root).raw(name) if images is None else _target(name, images, root, bring)
    before = read_settings(params)
    parse_config(before, params.name)
    row = {"source": row["source"], "path": target.relative_to(root).as_posix(), **row}
    for key, value in row.items():
        require_utf8(str(value), f"gift add-task: {key}")
    fraction = row.get("test_fraction")
    default = PROBE_FRACTION if factor is None else TEST_FRACTION
    row["test_fraction"] = default if fraction is None else fraction
    after = append_task(before, name, row, learning_rate_factor=factor)
    new = parse_config(after, params.name)
    dataset = None
    if images is None:
        has_test = "test" in row["splits"]
    else:
        task = new.tasks[name].model_copy(update={"path": str(images.absolute())})
        dataset = open_dataset(name, task, seed=new.seed, root=root)
        has_test = not dataset.by_seed
    if has_test:
        if fraction is not None:
            raise UserError(f"--test-fraction {fraction:g}: the data set has a test split of its own. Leave it out.")
        del row["test_fraction"]
        after = append_task(before, name, row, learning_rate_factor=factor)
        new = parse_config(after, params.name)
    if os.path.lexists(target):  # the images are there already
        bring = None
    return Addition(params, before, after, new, dataset, images, target, bring)


def _target(name: str, images: Path, root: Path, bring: str | None) -> Path:
    """Where the images are, or will be: a folder of data/0_raw."""
    if not images.is_dir():
        raise UserError(f"--images {no_such_path(images, 'folder')} Name the folder that has the images.")
    raw = Layout(root).raw("")
    location = Path(os.path.normpath(images.absolute()))
    inside = os.path.relpath(location.parent.resolve() / location.name, raw.resolve())
    if any(folder.is_relative_to(images.resolve()) for folder in (root.resolve(), raw.resolve())):
        problem = "contains the project or all its data sets, so the data set would contain itself"
        raise UserError(f"--images {images}: {problem}. Name a folder that has only the images.")
    if not inside.startswith(".."):
        return raw / inside
    if bring is None:
        problem = f"is outside {raw}, where data sets have the same paths on every machine"
        remedy = f"Add --link (a link in {raw}, nothing is copied) or --copy"
        raise UserError(f"--images {images}: {problem}. {remedy}.")
    target = Layout(root).raw(name)
    if bring == "link" and target.is_symlink() and target.resolve() == images.resolve():
        return target  # of a task that was removed
    if os.path.lexists(target):
        there = f" (a link to {target.readlink()}; to do without it: rm {target})" if target.is_symlink() else ""
        remedy = f"Choose another name, or add it with --images {target}"
        raise UserError(f"--{bring}: {target} already exists{there}. {remedy}.")
    return target
