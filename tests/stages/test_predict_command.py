"""`gift predict`: its three formats, and its messages about files that it cannot read."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from gift_core.artifacts.contract import sha256_of
from gift_core.artifacts.task import iterate_task, read_task
from gift_core.clip.encoding import class_features, image_features, predict
from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import open_folder, save_clip
from gift_core.layout import Layout
from stages.app import app
from tests.clip.tiny import picture, tiny_clip
from tests.datasets.damaged_images import damaged_images
from tests.imports import ROOT
from tests.tiny_world import write_images

RUNNER = CliRunner()


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A model, an ingested task, a file of classes and a folder with two images."""
    save_clip(tiny_clip(), tmp_path / "model", {})
    write_images(Layout(tmp_path).task("birds"), seed=0)
    (tmp_path / "classes.txt").write_text("cat\ndog, big\nowl\n")
    (tmp_path / "pictures").mkdir()
    for number in (1, 2):
        picture(number, width=30, height=20).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path


def run(world: Path, *options: str, images: str = "pictures", model: str = "model") -> Result:
    arguments = ["predict", str(world / model), str(world / images), "--root", str(world), "--device", "cpu", *options]
    return RUNNER.invoke(app, arguments)


def classes_file(world: Path) -> tuple[str, str]:
    return "--classes", str(world / "classes.txt")


def test_the_table_has_one_line_per_image_and_the_files_left_out_are_counted(world: Path) -> None:
    (world / "pictures" / "notes.txt").touch()
    result = run(world, *classes_file(world))
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(str(world / "pictures" / "1.png")) and "%" in lines[0]
    assert "pictures: 1 file left out: 1 .txt (notes.txt)." in result.stderr


def test_csv_and_json_say_the_same(world: Path) -> None:
    by_csv = list(csv.DictReader(io.StringIO(run(world, *classes_file(world), "--format", "csv", "--top", "3").stdout)))
    by_json = json.loads(run(world, *classes_file(world), "--format", "json", "--top", "3").stdout)
    assert len(by_csv) == 6 and [row["rank"] for row in by_csv] == ["1", "2", "3"] * 2
    expected = [(each["path"], each_class["class"]) for each in by_json for each_class in each["classes"]]
    assert [(row["path"], row["class"]) for row in by_csv] == expected
    assert sum(float(row["probability"]) for row in by_csv) == pytest.approx(2, abs=1e-5)


def test_the_test_split_is_classified_as_evaluate_classifies_it(world: Path, tmp_path: Path) -> None:
    """An independent way to the same predictions: the evaluation's zero-shot classifier on the ingested images."""
    clip = open_folder(world / "model", device=torch.device("cpu"), precision="fp32")
    task = read_task(Layout(world).task("birds"))
    images = [image for image, _ in iterate_task(Layout(world).task("birds"), "test")]
    (world / "test").mkdir()
    for number, image in enumerate(images):
        (world / "test" / f"{number}.png").write_bytes(image)
    class_KD = class_features(clip, task.class_names, task.templates, batch_size=4)
    expected = predict(image_features(clip, evaluation_pixels(clip, images), batch_size=4), class_KD)
    found = json.loads(run(world, "--classes", "birds", "--format", "json", images="test").stdout)
    assert [each["classes"][0]["class"] for each in found] == [task.class_names[index] for index in expected.tolist()]


def learned_model(world: Path) -> str:
    """Moves the model to where finetune would have saved it after birds, and returns its folder."""
    layout = Layout(world)
    record = {"method": "gift", "task": "birds", "step": 0, "settings": {"start": "previous", "learns": "task"}}
    hashes = {"start_model": "pretrained", "task_json": sha256_of(layout.task("birds") / "task.json")}
    save_clip(tiny_clip(), layout.model("gift", "birds"), record | hashes)
    return str(layout.model("gift", "birds").relative_to(world))


def test_without_classes_those_that_the_model_has_learned_are_taken(world: Path) -> None:
    result = run(world, "--format", "json", "--top", "9", model=learned_model(world))
    assert {each["class"] for each in json.loads(result.stdout)[0]["classes"]} == {"tit", "wren", "owl"}
    assert "3 classes: those that the model has learned" in result.stderr
    refused = run(world)
    assert refused.exit_code == 1 and "Name the classes: --classes FILE or TASK" in refused.stderr


def test_a_real_process_goes_on_after_damaged_images(world: Path) -> None:
    for name, image in damaged_images(20, seed=5):
        (world / "pictures" / name).write_bytes(image)
    (world / "pictures" / "\udcff.png").write_bytes((world / "pictures" / "1.png").read_bytes())
    (world / "pictures" / "gone.png").symlink_to("/nowhere.png")
    command = [
        sys.executable,
        "-m",
        "stages",
        "predict",
        str(world / "model"),
        str(world / "pictures"),
        "--format",
        "json",
    ]
    options = (*classes_file(world), "--device", "cpu")
    done = subprocess.run([*command, *options], capture_output=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    refused = [line for line in done.stderr.splitlines() if line.startswith("not read: ")]
    assert len(json.loads(done.stdout)) + sum(int(line.split()[2]) for line in refused) == 24
    assert f"not read: 1 file, No such file or directory ({world}/pictures/gone.png)" in refused
    reason = "its name is not UTF-8 or has control characters: rename it"
    assert f"not read: 1 file, {reason} ({world}/pictures/\\xff.png)" in refused


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        (["--classes", "brids"], "pictures", "--classes brids: neither a file nor an ingested task"),
        (["--classes", "birds", "--format", "jsno"], "pictures", "unknown name 'jsno'. Did you mean 'json'"),
        (["--classes", "birds"], "nothing", "nothing: no such file or folder. Beside it: "),
        (["--classes", "birds"], "no_model", "no_model: no image found"),
        (["--classes", "birds", "--device", "gpu"], "pictures", "device: unknown name 'gpu'"),
    ],
)
def test_bad_input_is_reported_before_the_model_is_loaded(
    options: list[str], images: str, message: str, world: Path
) -> None:
    (world / "no_model").mkdir(exist_ok=True)
    result = run(world, *options, images=images, model="no_model")
    assert result.exit_code == 1 and result.stdout == ""
    assert message in result.stderr
