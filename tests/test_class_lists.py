"""Class names and templates as people give them, and those of the tasks that a model has learned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.contract import sha256_of
from gift_core.class_lists import Classes, learned_classes, names_of, read_classes
from gift_core.errors import UserError
from gift_core.layout import Layout


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_a_text_file_has_one_name_per_line_and_the_usual_template(tmp_path: Path) -> None:
    file = text(tmp_path / "classes.txt", "\ufeffblack cat\n\n  dog  \r\nnaïve café\n")
    found = read_classes(str(file), None, Layout(tmp_path))
    assert found.names == ("black cat", "dog", "naïve café")
    assert found.templates == ("a photo of a {}.",)
    templates = text(tmp_path / "templates.txt", "art of the {}.\n{}\n")
    assert read_classes(str(file), templates, Layout(tmp_path)).templates == ("art of the {}.", "{}")


def test_a_task_is_known_by_its_name_and_by_its_file_and_brings_its_templates(tmp_path: Path) -> None:
    folder = Layout(tmp_path).task("pets")
    folder.mkdir(parents=True)
    file = text(folder / "task.json", json.dumps({"class_names": ["cat", "dog"], "templates": ["the {}", "{}!"]}))
    for source in ("pets", str(file)):
        found = read_classes(source, None, Layout(tmp_path))
        assert (found.names, found.templates) == (("cat", "dog"), ("the {}", "{}!"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat\n", "found 1 class names"),
        ("cat\ndog\ncat\n", "cat is listed more than once"),
        ("naïve\n".encode("latin-1").decode("utf-8", "surrogateescape"), "cannot be read"),
    ],
)
def test_a_list_without_two_different_names_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=f"--classes.*classes.txt:? {message}"):
        read_classes(str(tmp_path / "classes.txt"), None, Layout(tmp_path))


TASKS = {"pets": ["cat", "dog"], "birds": ["wren", "Cat"], "cars": ["van", "bus"]}
SETTINGS = {
    "previous": {"start": "previous", "learns": "task"},
    "joint": {"start": "pretrained", "learns": "seen"},
    "separate": {"start": "pretrained", "learns": "task"},
    "nothing": {"start": "previous", "learns": "nothing"},
}


def train(layout: Layout, method: str, name: str, step: int, task: str, **changed: Any) -> None:
    """Writes the provenance of the model in the folder `name` of the method, as finetune does."""
    folder = layout.model(method, name)
    folder.mkdir(parents=True)
    start = f"weights {step - 1}" if SETTINGS[method]["start"] == "previous" else "pretrained"
    record = {"method": method, "task": task, "step": step, "start_model": start, "weights_sha256": f"weights {step}"}
    record |= {"task_json": sha256_of(layout.task(task) / "task.json"), "settings": SETTINGS[method], **changed}
    text(folder / "provenance.json", json.dumps(record))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "project")
    for task, class_names in TASKS.items():
        layout.task(task).mkdir(parents=True)
        text(layout.task(task) / "task.json", json.dumps({"class_names": class_names, "templates": [f"{task}: {{}}"]}))
    for method in SETTINGS:
        for step, task in enumerate(TASKS):
            train(layout, method, task, step, task)
    return layout


def learned(folder: Path, templates: Path | None = None) -> list[Classes]:
    return learned_classes(str(folder), templates)


@pytest.mark.parametrize("method", ["previous", "joint"])
def test_a_model_knows_the_classes_of_all_tasks_so_far_each_with_its_templates(method: str, layout: Layout) -> None:
    assert learned(layout.model(method, "birds")) == [
        Classes(("cat", "dog"), ("pets: {}",)),
        Classes(("wren",), ("birds: {}",)),  # Cat is a class of pets already
    ]
    groups = learned(layout.model(method, "cars"), text(layout.root / "templates.txt", "art of {}"))
    assert names_of(groups) == ("cat", "dog", "wren", "van", "bus")
    assert {group.templates for group in groups} == {("art of {}",)}


def test_models_of_other_tasks_or_of_another_sequence_in_the_same_folder_do_not_count(layout: Layout) -> None:
    assert learned(layout.model("separate", "birds")) == [Classes(("wren", "Cat"), ("birds: {}",))]
    train(layout, "previous", "old", 1, "cars", weights_sha256="of the old sequence")
    assert names_of(learned(layout.model("previous", "cars"))) == ("cat", "dog", "wren", "van", "bus")


def test_captions_count_where_a_model_has_learned_nothing_else(layout: Layout) -> None:
    captions = {"class_names": ["a walk.", "A walk"], "templates": ["{}"], "captions": {"train": 2, "test": 0}}
    layout.task("walks").mkdir()
    text(layout.task("walks") / "task.json", json.dumps(captions))
    for method in ("previous", "separate"):
        train(layout, method, "walks", 3, "walks")
    assert names_of(learned(layout.model("previous", "walks"))) == ("cat", "dog", "wren", "van", "bus")
    alone = [Classes(("a walk.", "A walk"), ("{}",), are_captions=True)]
    assert learned(layout.model("separate", "walks")) == alone == [read_classes("walks", None, layout)]


def copy_of(name: str) -> Callable[[Layout], Path]:
    return lambda layout: Path(shutil.copytree(layout.model("previous", name), layout.root.parent / "copied"))


def ingest_again(layout: Layout) -> Path:
    text(layout.task("pets") / "task.json", json.dumps({"class_names": ["cat", "fox"], "templates": ["{}"]}))
    return layout.model("previous", "cars")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (copy_of("cars"), "the model before cars is not in .*Take the model in its project, after dvc checkout, or"),
        (copy_of("pets"), "it has learned pets, and there is no /.*1_tasks/pets/task.json"),
        (ingest_again, "pets was ingested again since, from other data. Run dvc repro, or name the classes: --cla"),
        (lambda layout: layout.model("nothing", "cars"), "its provenance.json names no task .*Name the classes: --cla"),
        (lambda layout: layout.root, "there is no .*provenance.json. Name the classes: --classes FILE or TASK"),
    ],
    ids=["out of its project", "the first out of its project", "ingested again", "nothing", "no provenance"],
)
def test_a_model_whose_classes_are_unknown_needs_the_option(
    prepare: Callable[[Layout], Path], message: str, layout: Layout
) -> None:
    with pytest.raises(UserError, match=message):
        learned(prepare(layout))
