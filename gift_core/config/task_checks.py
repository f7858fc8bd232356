"""What a task's row can get wrong beyond the types of its keys: paths, templates, names, columns and patterns."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.config.tasks import MiniTaskConfig, OwnTaskConfig, TableTaskConfig, WebDatasetTaskConfig
from gift_core.layout import Layout

Findings = Iterator[tuple[str, str]]
TABLES = (".csv", ".tsv", ".parquet")
_LAYOUT = Layout(Path())
MADE = tuple(
    path.as_posix()
    for path in (
        _LAYOUT.task("x").parent,
        _LAYOUT.base_vocabulary().parent,
        _LAYOUT.shards("x").parent,
        _LAYOUT.first_teacher().parent,
        _LAYOUT.pretrained().parent,
        _LAYOUT.pretrained_accuracy().parent,
        _LAYOUT.reports(),
        _LAYOUT.timings().parent,
    )
)


def check_tasks(config: Config) -> Findings:
    """Yields (dotted path, "what is wrong. Remedy") of every row of tasks."""
    for name, task in config.tasks.items():
        place = f"tasks.{name}"
        if isinstance(task, MiniTaskConfig):
            continue
        yield from _check_path(f"{place}.path", task.path)
        yield from _check_templates(f"{place}.templates", task.templates or ())
        if isinstance(task, OwnTaskConfig):
            yield from _check_class_names(f"{place}.class_names", task.class_names)
        if isinstance(task, TableTaskConfig):
            yield from _check_table(place, task)
        if isinstance(task, WebDatasetTaskConfig):
            yield from _check_patterns(place, task)


def _check_path(place: str, path: str) -> Findings:
    plain = posixpath.normpath(path)
    if plain.startswith("/") or plain.split("/")[0] in ("..", "~") or path[1:2] == ":":
        what = f"{path} lies outside the project, and would be another place on every machine"
        yield place, f"{what}. Link it: ln -s <its place> data/0_raw/<name> (or copy it), and write that path."
    elif plain == ".":
        yield place, f"{path} is the whole project. Put the data into a folder of data/0_raw."
    for made in MADE:
        if plain == made or made.startswith(f"{plain}/") or plain.startswith(f"{made}/"):
            yield place, f"{path} and {made}, which the pipeline writes, hold each other. Use a folder of data/0_raw."
            return


def _check_templates(place: str, templates: tuple[str, ...]) -> Findings:
    for template in templates:
        try:
            template.format("a name")
        except (ValueError, IndexError, KeyError):
            yield place, f"{template!r} has more than one place for the name. Write {{}} once, and no other braces."
    for template in sorted({template for template in templates if templates.count(template) > 1}):
        yield place, f"{template!r} stands there twice. Remove one."


def _check_class_names(place: str, names: str | dict[str, str] | None) -> Findings:
    if isinstance(names, str) and not is_inside(names):
        yield place, f"{names} lies outside the task's path, where changes are watched. Put the file there."
    if isinstance(names, dict):
        spelled = [name.strip() for name in names.values()]
        for name in sorted({name for name in spelled if spelled.count(name) > 1}):
            same = [label for label, other in names.items() if other.strip() == name]
            yield place, f"{', '.join(same)} have the same name, {name!r}. Tell them apart."


def _check_table(place: str, task: TableTaskConfig) -> Findings:
    if not task.table.lower().endswith(TABLES):
        yield f"{place}.table", f"{task.table} is no table that is read. Write it as {', '.join(TABLES)}."
    if not is_inside(task.table):
        yield f"{place}.table", f"{task.table} lies outside the task's path, where changes are watched. Put it there."
    if task.label_column == task.image_column:
        yield f"{place}.label_column", f"{task.label_column!r} is the image_column too. Name a column each."
    if task.split_column in (task.image_column, task.label_column):
        yield f"{place}.split_column", f"{task.split_column!r} is another key's column too. Name a column each."


def _check_patterns(place: str, task: WebDatasetTaskConfig) -> Findings:
    if task.label == "json:":
        yield f"{place}.label", "names no key. Write json:<key>, or the extension of the label's file: cls."
    if task.label.startswith("."):
        yield f"{place}.label", f"{task.label} is written without its point. Write {task.label.lstrip('.')}."
    for key, pattern in (("train", task.train), ("test", task.test)):
        for part in (pattern or "x").split("::"):
            if not is_inside(part):
                yield f"{place}.{key}", f"{part!r} lies outside the task's path. Name tars relative to it."


def is_inside(name: str) -> bool:
    """True where a relative name stays below its folder: no absolute path, no "..", not the folder itself."""
    plain = posixpath.normpath(name)
    return not plain.startswith("/") and plain.split("/")[0] != ".." and plain != "."
