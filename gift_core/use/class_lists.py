"""The classes among which `gift predict` and `gift test` classify: named by the user, or learned by the model."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasPath, BaseModel, Field, ValidationError

from gift_core.artifacts.contract import read, sha256_of
from gift_core.artifacts.model_folder import PROVENANCE, read_provenance
from gift_core.artifacts.table_files import text_lines
from gift_core.artifacts.task import STAGE
from gift_core.config.section import distinct, template
from gift_core.datasets.spelling import comparison_key, plain_name, require_sound_labels
from gift_core.errors import GiftError, UserError, lookup
from gift_core.layout import Layout

DEFAULT_TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True)
class Classes:
    """Class names, and templates in which `{}` stands for the name. Captions are classes, too, with the template {}."""

    names: tuple[str, ...]
    templates: tuple[str, ...]
    are_captions: bool = False


def names_of(classes: Sequence[Classes]) -> tuple[str, ...]:
    """Returns the names of all groups in one tuple."""
    return tuple(name for group in classes for name in group.names)


def ingested_tasks(layout: Layout) -> dict[str, Path]:
    """Returns the task.json of each task that was ingested."""
    return {file.parent.name: file for file in layout.task("task").parent.glob("*/task.json")}


def read_classes(source: str, templates: Path | None, layout: Layout) -> Classes:
    """The classes of `source`: a text file with one name per line, a task.json, or the name of an ingested task.

    Of a task with captions, they are the captions that stand for it in the vocabulary. Templates come from the file
    `templates` (one per line), else from the task; a text file gets "a photo of a {}.". UserError for missing, too few
    or repeated names, and for templates that params.yaml could not have.
    """
    path = Path(source)
    option = f"--classes {source}"
    if path.is_file() and path.suffix != ".json":
        classes = Classes(tuple(map(plain_name, text_lines(path, "--classes"))), DEFAULT_TEMPLATES)
    else:
        missing = "--classes: neither a text file with one name per line nor an ingested task"
        record = read(_Task, path if path.is_file() else lookup(ingested_tasks(layout), source, missing), STAGE)
        names = tuple(map(plain_name, record.class_names))
        classes = Classes(names, tuple(record.templates), are_captions=bool(record.captions))
    if not classes.are_captions:
        require_sound_labels(classes.names, option)
        counts = Counter(map(comparison_key, classes.names))
        repeated = [name for name in dict.fromkeys(classes.names) if counts[comparison_key(name)] > 1]
        if repeated or len(classes.names) < 2:
            problem = f"found {len(classes.names)} class names"
            if repeated:
                problem = f"{', '.join(repeated[:3])} is listed more than once"
            raise UserError(f"{option}: {problem}. Give at least two different ones.")
    return dataclasses.replace(classes, templates=read_templates(templates, classes.templates, source))


def read_templates(file: Path | None, own: Sequence[str] = DEFAULT_TEMPLATES, source: str = "") -> tuple[str, ...]:
    """Returns the lines of `file`, or without one the templates `own` of `source`. UserError as for params.yaml."""
    chosen = text_lines(file, "--templates") if file else own
    option = f"--templates {file or source}"
    if not chosen:
        raise UserError(f"{option}: holds no template. Write one per line: a photo of a {{}}.")
    try:
        return distinct(tuple(map(template, chosen)))
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def learned_classes(model: str, templates: Path | None) -> list[Classes]:
    """Returns the classes of each task that the model of a project has learned, oldest first, with its templates.

    A class that two tasks share counts once, with the templates of the older one. Captions count if the model has
    learned nothing else. UserError, which asks for --classes, where the model's tasks are unknown, or are not in the
    project that the model's folder is in.
    """
    folder = Path(model).absolute()
    project = Layout(Path(os.path.normpath(folder / "../../../..")))  # data/6_released/<method>/<task>
    groups = []
    for training in _trainings(folder):
        file = project.task(training.task) / "task.json"
        if not file.is_file():
            problem = f"it has learned {training.task}, and there is no {file}"
            raise _unknown(folder, problem, "Take the model in its project")
        if sha256_of(file) != training.task_json:
            raise _unknown(folder, f"{training.task} was ingested again since, from other data", "Run dvc repro")
        groups.append(read_classes(str(file), templates, project))
    known: set[str] = set()
    learned = []
    for group in [group for group in groups if not group.are_captions] or groups:
        new = tuple(name for name in group.names if comparison_key(name) not in known)
        known |= set(map(comparison_key, new))
        if new:
            learned.append(dataclasses.replace(group, names=new))
    return learned


def templates_of_model(classes: Classes, model: str) -> Classes:
    """Returns the classes with the templates of the task that has all of them and that the model has learned.

    They are returned as they are where there is none, or where it is not known what the model has learned.
    """
    names = set(map(comparison_key, classes.names))
    with suppress(GiftError):
        for group in learned_classes(model, None):
            if names <= set(map(comparison_key, group.names)):
                return dataclasses.replace(classes, templates=group.templates)
    return classes


class _Task(BaseModel):
    """What is read of a task.json, which may be of a model from elsewhere."""

    class_names: list[str]
    templates: list[str]
    captions: dict[str, int] = {}


class _Training(BaseModel):
    """What provenance.json says of a training."""

    method: str
    task: str
    step: int
    task_json: str
    start_model: str
    weights_sha256: str
    trained_model: str | None = None  # of a released model: the weights that the next training started from
    start: str = Field(validation_alias=AliasPath("settings", "start"))
    learns: str = Field(validation_alias=AliasPath("settings", "learns"))


def _trainings(folder: Path) -> list[_Training]:
    """The training of each task that the model in `folder` has learned, oldest first."""
    if not (folder / PROVENANCE).is_file():
        raise _unknown(folder, f"there is no {folder / PROVENANCE}")
    newest = _training(folder)
    if newest is None or newest.learns == "nothing":
        raise _unknown(folder, f"its {PROVENANCE} names no task that it was trained on")
    trainings = [_training(file.parent) for file in sorted(folder.parent.glob(f"*/{PROVENANCE}"))]
    of_method = [training for training in trainings if training and training.method == newest.method]
    chain = [newest]
    oldest = newest
    # Until the model knows its own task only: the first one, or one of a method with a model for each task.
    while oldest.step and (oldest.start, oldest.learns) != ("pretrained", "task"):
        before = [training for training in of_method if training.step == oldest.step - 1]
        if oldest.start != "pretrained":
            start = oldest.start_model
            before = [training for training in before if (training.trained_model or training.weights_sha256) == start]
        if len(before) != 1:
            problem = f"the model before {oldest.task} is not in {folder.parent}"
            raise _unknown(folder, problem, "Take the model in its project, after dvc checkout")
        oldest = before[0]
        chain.insert(0, oldest)
    return chain


def _training(folder: Path) -> _Training | None:
    """None for a model that no finetune has made."""
    try:
        return _Training.model_validate(read_provenance(folder))
    except ValidationError:
        return None


def _unknown(model: Path, reason: str, remedy: str = "") -> UserError:
    problem = f"{model}: the classes that it has learned are unknown: {reason}"
    return UserError(f"{problem}. {f'{remedy}, or name' if remedy else 'Name'} the classes: --classes FILE or TASK.")
