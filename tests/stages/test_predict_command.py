"""`gift predict` and `gift test`: their formats, that they agree, and messages about files that they cannot read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import Result

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.model_folder import WEIGHTS
from gift_core.artifacts.task import iterate_task, read_task
from gift_core.clip import task_tests
from gift_core.clip.images import CacheBudget
from gift_core.clip.model import save_clip
from gift_core.clip.test_sets import TestSet
from gift_core.layout import Layout
from tests.clip.tiny import picture, tiny_clip
from tests.stages.experiment import invoke
from tests.tiny_world import TEMPLATES, write_images, write_pair_task


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a model, an ingested task and its images, a file of classes and a folder with two images."""
    monkeypatch.chdir(tmp_path)
    save_clip(tiny_clip(), tmp_path / "model", {})
    task = Layout(tmp_path).task("birds")
    write_images(task, seed=0)
    names = read_task(task).class_names
    for split in ("train", "test"):
        for number, (image, label) in enumerate(iterate_task(task, split)):
            folder = tmp_path / "photos" / split / names[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.png").write_bytes(image)
    (tmp_path / "templates.txt").write_text("\n".join(TEMPLATES), encoding="utf-8")
    (tmp_path / "classes.txt").write_text("cat\ndog, big\nowl\n")
    (tmp_path / "no_model").mkdir()
    (tmp_path / "pictures").mkdir()
    for number in (1, 2):
        picture(number, width=30, height=20).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path


def gift(words: str) -> Result:
    return invoke(*words.split(), "--device", "cpu")


def document(words: str) -> Any:
    result = gift(f"{words} --json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_table_has_a_line_for_each_image_and_csv_and_json_have_all_classes(world: Path) -> None:
    (world / "pictures" / "notes.txt").touch()
    words = "predict model pictures --classes classes.txt --top 3"
    table = gift(words.replace("3", "1"))
    header, first, _ = table.stdout.splitlines()
    assert header.split() == ["path", "similarity", "score", "class"] and first.startswith("pictures/1.png")
    assert "pictures: 1 file left out: notes.txt." in table.stderr
    by_csv = list(csv.DictReader(io.StringIO(gift(f"{words} --format csv").stdout)))
    assert len(by_csv) == 6 and [row["rank"] for row in by_csv] == ["1", "2", "3"] * 2
    expected = [(each["path"], each_class["class"]) for each in document(words) for each_class in each["classes"]]
    assert [(row["path"], row["class"]) for row in by_csv] == expected
    assert sum(float(row["score"]) for row in by_csv) == pytest.approx(2, abs=1e-5)
    highest = max(float(row["similarity"]) for row in by_csv)
    none = document(f"{words} --threshold {highest + 1e-5}")
    assert [[each["class"] for each in image["classes"]] for image in none] == [["none of these"]] * 2
    assert none[0]["classes"][0]["score"] is None
    assert gift(f"{words} --threshold nan").exit_code == 2


def learned_model(world: Path, task: str = "birds") -> Path:
    """Writes the model to where finetune would have saved it after the task, and returns its folder."""
    layout = Layout(world)
    record = {"method": "gift", "task": task, "step": 0, "settings": {"start": "previous", "learns": "task"}}
    hashes = {"start_model": "pretrained", "task_json": sha256_of(layout.task(task) / "task.json")}
    save_clip(tiny_clip(), layout.model("gift", task), record | hashes)
    return layout.model("gift", task)


def test_without_classes_those_that_the_model_has_learned_are_taken(world: Path) -> None:
    result = gift(f"predict {learned_model(world)} pictures --json --top 9")
    assert {each["class"] for each in json.loads(result.stdout)[0]["classes"]} == {"tit", "wren", "owl"}
    assert "3 classes: those that the model has learned" in result.stderr
    refused = gift("predict model pictures")
    assert refused.exit_code == 1 and "Name the classes: --classes FILE or TASK" in refused.stderr


def test_a_task_with_captions_is_tested_by_retrieval_and_its_captions_are_ranked(world: Path) -> None:
    write_pair_task(Layout(world).task("digits"))
    images = TestSet(Layout(world).task("digits"), batch_size=64, cache_budget=CacheBudget(0))
    found, directions = document("test model digits"), ("images_for_captions", "captions_for_images")
    assert found["recall_at_1"] == pytest.approx(task_tests.test_of(tiny_clip(), images).top1)
    assert found["recall_at_1"] == pytest.approx(sum(found[each]["recall_at_1"] for each in directions) / 2)
    low, high = found["interval"]
    assert 0 <= low <= found["recall_at_1"] <= high <= 1 and found["images"] == 9
    assert "Recall@1 on 9 images is" in gift("test model digits").stdout
    assert "digits has captions: leave out --learned" in gift("test model digits --learned").stderr
    model = learned_model(world, "digits")
    ranked = document(f"predict {model} pictures --top 9")
    assert {each["class"] for each in ranked[0]["classes"]} == {"picture 0", "the 1th"}
    assert ranked == document("predict model pictures --top 9 --classes digits")


def test_the_question_is_among_the_classes_of_the_folder_those_of_a_task_or_all_learned_ones(world: Path) -> None:
    of_folder = document("test model photos --templates templates.txt --classes birds")
    of_task = document("test local-dir:model birds")
    assert [of_folder[key] for key in ("accuracy", "classes")] == [of_task[key] for key in ("accuracy", "classes")]
    model = learned_model(world)
    own, learned = document(f"test {model} photos"), document(f"test {model} photos --learned")
    assert (own["among"], learned["among"], of_task["among"]) == (2, 3, 3)
    assert own["images"] == learned["images"]
    (world / "learned.txt").write_text("tit\nwren\nowl\n", encoding="utf-8")
    assert document(f"test {model} photos --classes learned.txt")["classes"] == learned["classes"]  # its templates, too


def test_the_table_has_a_line_for_each_class_and_an_image_that_cannot_be_read_does_not_count(world: Path) -> None:
    (world / "photos/test/tit/broken.png").write_text("no image", encoding="utf-8")
    (world / "photos/test/tit/notes.txt").touch()
    result = gift("test model photos")
    lines = result.stdout.splitlines()
    assert "% of 2 images are classified correctly, among 2 classes (95% interval: " in lines[0]
    assert lines[1].split() == ["class", "correct", "images", "95%", "interval"]
    assert {line.split()[0] for line in lines[2:4]} == {"tit", "wren"}
    assert result.exit_code == 1
    assert "1 file left out: test/tit/notes.txt." in result.stderr
    assert "not read: 1 file, not an image" in result.stderr


@pytest.mark.parametrize(
    ("words", "large", "what"),
    [
        ("test model birds", ("visual.ln_post.weight", "visual.proj"), "images"),
        ("predict model photos --classes classes.txt", ("ln_final.weight", "text_projection"), "texts"),
    ],
)
def test_a_model_whose_features_overflow_is_refused(words: str, large: tuple[str, str], what: str, world: Path) -> None:
    weights = load_file(world / "model" / WEIGHTS)
    for name in large:
        weights[name].fill_(1e18)
    save_file(weights, world / "model" / WEIGHTS)
    (world / "model" / "provenance.json").unlink()
    result = gift(words)
    assert result.exit_code == 1 and "nan" not in result.stdout
    assert f"features of {what} are NaN, infinite or 0, although its weights are finite" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict no_model pictures --classes birds --format json", "'json' is not one of 'table', 'csv'"),
        ("predict no_model pictures --format cvs", "'cvs' is not one of 'table', 'csv'. Did you mean 'csv'?"),
        ("test no_model photos --classes cars.txt", "the images are of 'tit', 'wren', and the classes are van, bus"),
        ("test no_model brids", "It is no ingested task, either. Did you mean 'birds'? Known: birds."),
        ("test no_model photos --learned", "the classes that it has learned are unknown"),
        ("test no_model photos --learned --classes birds", "give only one of --learned and --classes"),
    ],
)
def test_bad_input_is_reported_before_the_model_is_loaded(words: str, message: str, world: Path) -> None:
    (world / "cars.txt").write_text("van\nbus\n", encoding="utf-8")
    result = gift(words)
    assert result.exit_code != 0 and result.stdout == ""
    assert message in " ".join(result.stderr.replace("│", " ").split())
