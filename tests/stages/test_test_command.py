"""`gift test`: the accuracy on a labeled folder and on an ingested task, and its messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gift_core.artifacts.task import iterate_task, read_task
from gift_core.clip.model import save_clip
from gift_core.layout import Layout
from stages.app import app
from tests.clip.tiny import tiny_clip
from tests.stages.test_predict_command import learned_model
from tests.tiny_world import TEMPLATES, write_images

RUNNER = CliRunner()


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A model, an ingested task, and its test images in a folder with splits."""
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
    return tmp_path


def run(world: Path, *options: str, images: str = "photos", model: str = "model", command: str = "test") -> Result:
    place = str(world / images) if (world / images).exists() else images
    arguments = [command, str(world / model), place, "--root", str(world), "--device", "cpu", *options]
    return RUNNER.invoke(app, arguments)


def measure(world: Path, *options: str, images: str = "photos", model: str = "model") -> dict[str, Any]:
    result = run(world, *options, "--json", images=images, model=model)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_accuracy_is_the_share_of_images_that_predict_gives_their_own_class(world: Path) -> None:
    found = measure(world, images="photos/train")
    (world / "classes.txt").write_text("\n".join(found["classes"]), encoding="utf-8")
    options = ("--classes", str(world / "classes.txt"), "--json")
    predictions = json.loads(run(world, *options, images="photos/train", command="predict").stdout)
    right = [Path(each["path"]).parent.name == each["classes"][0]["class"] for each in predictions]
    assert (found["correct"], found["images"], found["among"]) == (sum(right), len(right), len(found["classes"]))
    assert sum(each["images"] for each in found["confusions"]) == right.count(False)
    low, high = found["interval"]
    assert 0 <= low <= found["accuracy"] <= high <= 1


def test_an_ingested_task_and_a_folder_of_its_test_images_have_one_accuracy(world: Path) -> None:
    of_folder = measure(world, "--templates", str(world / "templates.txt"), "--classes", "birds")
    of_task = measure(world, images="birds")
    assert [of_folder[key] for key in ("accuracy", "classes")] == [of_task[key] for key in ("accuracy", "classes")]
    assert of_task["among"] == len(read_task(Layout(world).task("birds")).class_names)


def test_the_question_may_be_among_all_that_the_model_has_learned(world: Path) -> None:
    own, learned = (measure(world, *options, model=learned_model(world)) for options in ((), ("--learned",)))
    assert (own["among"], learned["among"]) == (2, 3)
    assert own["images"] == learned["images"]


def test_the_table_has_a_line_for_each_class_and_the_confusions(world: Path) -> None:
    lines = run(world).stdout.splitlines()
    assert "% of 2 images are classified correctly, among 2 classes (95% interval: " in lines[0]
    assert lines[1].split() == ["class", "correct", "images", "95%", "interval"]
    assert {line.split()[0] for line in lines[2:4]} == {"tit", "wren"}


def test_an_image_that_cannot_be_read_is_named_and_does_not_count(world: Path) -> None:
    (world / "photos" / "test" / "tit" / "broken.png").write_text("no image", encoding="utf-8")
    (world / "photos" / "test" / "tit" / "notes.txt").touch()
    result = run(world, "--json")
    assert (result.exit_code, json.loads(result.stdout)["images"]) == (1, 2)
    assert "1 file left out: 1 .txt (test/tit/notes.txt)." in result.stderr
    assert "not read: 1 file, not an image" in result.stderr


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        (["--classes", "cars.txt"], "photos", "the images are of 'tit', 'wren', and the classes are van, bus"),
        (["--learned"], "photos", "the classes that it has learned are unknown"),
        (["--learned", "--classes", "birds"], "photos", "give only one of --learned and --classes"),
    ],
)
def test_bad_input_is_reported_before_the_model_is_loaded(
    options: list[str], images: str, message: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    Path("cars.txt").write_text("van\nbus\n", encoding="utf-8")
    Path("no_model").mkdir()
    result = run(world, *options, images=images, model="no_model")
    assert result.exit_code != 0 and result.stdout == ""
    assert message in " ".join(result.stderr.replace("│", " ").split())
