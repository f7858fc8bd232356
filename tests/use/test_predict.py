"""Images, class names, templates and labels as people give them; scores, accuracies, and files that are not images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from gift_core.artifacts.contract import sha256_of
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_transform
from gift_core.config.loading import load_config
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.method.metrics import Score
from gift_core.use.class_lists import Classes, learned_classes, names_of, read_classes
from gift_core.use.labeled_images import open_labeled_folder, open_labeled_images, score
from gift_core.use.predict import classify_images, find_images
from tests.clip.tiny import picture, tiny_clip


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_patterns_named_files_and_folders_give_each_image_once_in_order_and_what_is_left_out(tmp_path: Path) -> None:
    pictures = touch(tmp_path / "pictures", "b.png", "a.JPG", "notes.txt", "deeper/c.webp", "deeper/d.json")
    asked = [str(pictures / "b.png"), str(pictures / "*.*"), str(pictures / "**" / "c.*")]
    assert [path.name for path in find_images(asked)[0]] == ["b.png", "a.JPG", "notes.txt", "c.webp"]
    with pytest.raises(UserError, match=r"no image found. Give files, folders with images \(.jpg"):
        find_images([str(pictures), f"{pictures}/*.gif"])
    touch(pictures, "Thumbs.db", "._b.png", ".cache/x.png", "__MACOSX/b.png")
    found, notes = find_images([str(pictures), str(pictures / "b.png")])
    assert [path.name for path in found] == ["a.JPG", "b.png", "c.webp"]
    assert notes == [f"{pictures}: 6 files left out: deeper/d.json, notes.txt, 4 hidden."]


CLIP = tiny_clip()
CLASSES = Classes(("cat", "dog", "owl"), ("a photo of a {}.",))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five files: images of several sizes, and text in the middle one."""
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        picture(number, width=20 + 3 * number, height=17).save(path)
    paths[2].write_text("no picture")
    return paths


def test_similarities_are_cosines_and_scores_the_softmax_of_the_scaled_ones(files: list[Path]) -> None:
    unreadable: dict[str, list[Path]] = {}
    (_, ranked), *others = classify_images(CLIP, files, [CLASSES], unreadable, top=3)
    assert len(others) == 3 and [*unreadable.values()] == [[files[2]]]
    with torch.no_grad():
        image_BD = encode_images(CLIP, evaluation_transform(CLIP)(Image.open(files[0]))[None])
        text_KD = encode_tokens(CLIP, tokenize(CLIP, [f"a photo of a {name}." for name in CLASSES.names]))
    cosines_K = (image_BD @ text_KD.T)[0]
    scores_K = (CLIP.scale * cosines_K).softmax(dim=0)
    assert [each.name for each in ranked] == [CLASSES.names[n] for n in scores_K.argsort(descending=True)]
    for each in ranked:
        expected = [float(values[CLASSES.names.index(each.name)]) for values in (cosines_K, scores_K)]
        assert [each.similarity, each.score] == pytest.approx(expected, abs=1e-5)


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


def task_json(name: str, class_names: list[str], template: str) -> dict[str, Any]:
    return {"name": name, "source": "folder", "class_names": class_names, "templates": [template]}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "project")
    for task, class_names in TASKS.items():
        layout.task(task).mkdir(parents=True)
        text(layout.task(task) / "task.json", json.dumps(task_json(task, class_names, f"{task}: {{}}")))
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


def test_a_released_model_follows_the_model_that_the_one_before_was_released_of(layout: Layout) -> None:
    for step, task in enumerate(TASKS):
        folder = layout.released("previous", task)
        folder.mkdir(parents=True)
        record = json.loads((layout.model("previous", task) / "provenance.json").read_text())
        record |= {"weights_sha256": f"released {step}", "trained_model": record["weights_sha256"]}
        text(folder / "provenance.json", json.dumps(record))
    assert learned(layout.released("previous", "cars")) == learned(layout.model("previous", "cars"))


def test_captions_count_where_a_model_has_learned_nothing_else(layout: Layout) -> None:
    captions = task_json("walks", ["a walk.", "A walk"], "{}") | {"captions": {"train": 2, "test": 0}}
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
    text(layout.task("pets") / "task.json", json.dumps(task_json("pets", ["cat", "fox"], "{}")))
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
def test_unknown_classes_need_the_option(prepare: Callable[[Layout], Path], message: str, layout: Layout) -> None:
    with pytest.raises(UserError, match=message):
        learned(prepare(layout))


TEMPLATES = ("a {}.",)


def test_the_class_of_an_image_is_the_name_of_its_folder(tmp_path: Path) -> None:
    found = open_labeled_folder(touch(tmp_path, "red_fox/b/1.png", "red_fox/a.JPG", "wren/2.png", "x.png"), TEMPLATES)
    assert [(path.name, name) for path, name in found.label_of.items()] == [
        ("a.JPG", "red fox"), ("1.png", "red fox"), ("2.png", "wren"),
    ]  # fmt: skip
    assert found.classes == Classes(("red fox", "wren"), TEMPLATES)
    assert found.notes == ("1 file left out: x.png.",)


def test_only_the_test_split_of_a_folder_with_splits_is_taken_and_a_class_may_have_its_name(tmp_path: Path) -> None:
    found = open_labeled_folder(touch(tmp_path / "one", "train/0.png", "boat/0.png"), TEMPLATES)
    assert found.classes.names == ("boat", "train")
    names = [f"{split}/{name}/{split}.png" for split in ("train", "Test", "val") for name in ("fox", "wren")]
    found = open_labeled_folder(touch(tmp_path / "two", *names), TEMPLATES)
    assert [path.name for path in found.label_of] == ["Test.png", "Test.png"]
    assert found.classes.names == ("fox", "wren")


def test_a_folder_that_a_step_learns_has_training_images_and_one_of_a_probe_is_as_new(mini_project: Path) -> None:
    photos = touch(mini_project / "photos", "fox/1.png", "wren/2.png")
    for task in ("arrows", "games"):
        (mini_project / "data/0_raw").mkdir(parents=True, exist_ok=True)
        (mini_project / "data/0_raw" / task).symlink_to(photos)
    assert load_config(mini_project / "params.yaml").evaluation.probes == ("cyrillic", "games")
    (note,) = open_labeled_images(str(photos), None, Layout(mini_project)).notes
    assert note.startswith("most of these images are training images of the task arrows.")


def test_accuracies_of_all_images_and_of_each_class_and_the_confusions() -> None:
    pairs = [("a", "a")] * 3 + [("a", "b")] + [("b", "a")] * 2 + [("b", "b")] * 4
    result = score((*pair, 0.5) for pair in pairs)
    assert (result.total, result.by_class) == (Score(7, 10), {"a": Score(3, 4), "b": Score(4, 6)})
    assert result.confusions == (("b", "a", 2), ("a", "b", 1))
    assert result.total.percent == 70
    falling = score(("a", "a", (100 - number) / 1000 - 1e-5) for number in range(100))
    assert falling.threshold == 0.005  # 95 of 100 images have 0.00599 or more
    with pytest.raises(UserError, match="None of the images can be read"):
        score([])


@pytest.mark.parametrize(("correct", "count"), [(7, 10), (0, 12), (12, 12)])
def test_the_interval_is_the_one_of_wilson(correct: int, count: int) -> None:
    expected = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    assert Score(correct, count).interval == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-2)
