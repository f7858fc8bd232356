"""`gift data`: what status shows and exits with, what fetch explains, what verify finds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gift_core.datasets.catalogue.row import catalogue_names, catalogue_row
from stages.app import app
from tests.datasets.catalogue.trees import make_tree
from tests.datasets.folders import flat_birds

RUNNER = CliRunner()
OWN = {
    "source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}."], "test_fraction": 0.2,
    "on_bad_image": "refuse",
}  # fmt: skip
Written = Callable[[dict[str, Any]], Path]


def row(dataset: str, **changes: Any) -> dict[str, Any]:
    return {"source": "catalogue", "dataset": dataset, "path": f"data/0_raw/{dataset}", **changes}


@pytest.fixture
def gift(tmp_path: Path, mini_params: dict[str, Any], write_params: Written) -> Callable[..., Result]:
    """Runs `gift data ...` in tmp_path, with some tasks of the catalogue beside the miniature's."""

    def run(*arguments: str, tasks: dict[str, dict[str, Any]] | None = None) -> Result:
        mini_params["tasks"].update(tasks or {})
        params = write_params(mini_params)
        return RUNNER.invoke(app, ["data", *arguments, "--params", str(params), "--root", str(tmp_path)])

    return run


def test_status_names_the_catalogue_and_is_content_where_nothing_is_needed(gift: Callable[..., Result]) -> None:
    result = gift("status")
    assert result.exit_code == 0, result.output
    assert "6 tasks of the miniature benchmark need no data." in result.stdout
    for name in catalogue_names():
        assert name in result.stdout


def test_status_shows_own_tasks_first_and_fails_where_their_images_are_missing(
    gift: Callable[..., Result], tmp_path: Path
) -> None:
    flat_birds(tmp_path / "data" / "0_raw")
    tasks = {"textures2": row("dtd", allow_partial=True), "birds": OWN, "owls": {**OWN, "path": "data/0_raw/owls"}}
    make_tree("dtd", tmp_path / "data" / "0_raw" / "dtd")
    result = gift("status", tasks=tasks)
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith(("birds ", "owls ", "dtd "))]
    assert lines[0][:5] == ["birds", "1", "complete", "16", "4"]
    assert lines[1][:5] == ["owls", "1", "missing", "0", "0"]
    assert lines[2][:3] == ["dtd", "1", "partial"]
    assert "owls: params.yaml: tasks.owls.path: " in result.stderr and "gift data fetch owls" not in result.stderr
    del tasks["owls"]
    assert gift("status", "birds", tasks=tasks).exit_code == 0


def test_verify_decodes_own_images_and_lists_every_broken_one(gift: Callable[..., Result], tmp_path: Path) -> None:
    folder = flat_birds(tmp_path / "data" / "0_raw")
    result = gift("verify", "birds", tasks={"birds": OWN})
    assert (result.exit_code, "birds: 16 train images, 4 test images, 2 classes" in result.stdout) == (0, True)
    images = sorted(folder.rglob("*.png"))[:7]
    for image in images:
        image.write_bytes(b"no image")
    result = gift("verify", "--all")
    assert result.exit_code == 1 and "not sound: birds" in result.stderr
    assert "birds: 7 images cannot be decoded:\n" in result.stdout
    for image in images:
        assert f"birds:   {image.relative_to(folder).as_posix()} (not an image)\n" in result.stdout
    shutil.rmtree(folder)
    result = gift("verify", "birds", "--json")
    assert result.exit_code == 1 and "tasks.birds.path" in json.loads(result.stdout)[0]["found"][1]


def test_own_images_are_not_fetched(gift: Callable[..., Result]) -> None:
    result = gift("fetch", "birds", tasks={"birds": OWN})
    assert result.exit_code == 1 and "birds has your own images, which nothing can download" in result.stderr


def test_status_fails_where_a_task_lacks_its_data_and_says_what_to_do(gift: Callable[..., Result]) -> None:
    result = gift("status", tasks={"textures2": row("dtd")})
    assert result.exit_code == 1
    assert "dtd: there is no dtd/dtd/" in result.stderr and "gift data fetch dtd" in result.stderr
    assert "aircraft: " not in result.stderr  # nothing needs it


def test_a_part_is_enough_where_all_its_tasks_allow_that(gift: Callable[..., Result], tmp_path: Path) -> None:
    make_tree("dtd", tmp_path / "data" / "0_raw" / "dtd")
    assert gift("status", tasks={"a": row("dtd", allow_partial=True)}).exit_code == 0
    assert gift("status", tasks={"a": row("dtd", allow_partial=True), "b": row("dtd")}).exit_code == 1


def test_status_as_json_has_the_counts_and_the_tasks_of_each(gift: Callable[..., Result], tmp_path: Path) -> None:
    make_tree("cifar100", tmp_path / "data" / "0_raw" / "cifar100", per_class=2)
    slices = {
        f"step_{step}": row("cifar100", classes={"order": "benchmark", "first": 50 * step, "count": 50})
        for step in range(2)
    }
    result = gift("status", "cifar100", "mnist", "--json", tasks=slices)
    cifar, mnist = json.loads(result.stdout)
    assert result.exit_code == 1
    assert cifar == {
        "data_set": "cifar100",
        "tasks": ["step_0", "step_1"],
        "state": "partial",
        "suffices": False,
        "train": {"found": 200, "expected": 50000},
        "test": {"found": 200, "expected": 10000},
        "bytes": 400 * 3072,
        "path": f"{tmp_path.as_posix()}/data/0_raw/cifar100",
        "faults": ["200 of 50,000 training images", "200 of 10,000 test images"],
    }
    assert (mnist["state"], mnist["suffices"], mnist["tasks"]) == ("missing", True, [])


def test_status_finds_a_data_set_where_its_task_says_it_lies(gift: Callable[..., Result], tmp_path: Path) -> None:
    make_tree("mnist", tmp_path / "elsewhere")
    result = gift("status", "mnist", "--json", tasks={"a": row("mnist", path="elsewhere")})
    (status,) = json.loads(result.stdout)
    assert status["train"]["found"] == 10


def test_fetch_explains_every_data_set_it_cannot_get_and_fails(gift: Callable[..., Result], tmp_path: Path) -> None:
    result = gift("fetch", "stanford_cars", "sun397")
    assert result.exit_code == 1
    assert "cars_test_annos_withlabels.mat" in result.stderr and "SUN397.tar.gz" in result.stderr
    assert result.stderr.strip().endswith("not complete: stanford_cars, sun397")
    assert not (tmp_path / "data").exists()


def test_fetch_leaves_what_is_complete_alone(
    gift: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree("stanford_cars", tmp_path / "data" / "0_raw" / "stanford_cars")
    small = catalogue_row("stanford_cars", "tests").model_copy(update={"counts": {"train": 196, "test": 196}})
    monkeypatch.setattr("gift_core.datasets.status.catalogue_row", lambda name, key: small)
    result = gift("fetch", "--all", tasks={"cars": row("stanford_cars")})
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "stanford_cars: complete")


def test_verify_names_the_offenders(gift: Callable[..., Result], tmp_path: Path) -> None:
    make_tree("dtd", tmp_path / "data" / "0_raw" / "dtd", per_class=2)
    images = sorted((tmp_path / "data" / "0_raw" / "dtd" / "dtd" / "dtd" / "images" / "banded").iterdir())
    images[0].write_bytes(b"no image")
    result = gift("verify", "dtd")
    assert result.exit_code == 1
    assert "dtd: 94 of 1,880 training images" in result.stdout
    assert "dtd: train: 94 images, 2 to 2 per class, median 2" in result.stdout
    assert f"dtd: 1 images cannot be decoded: images/banded/{images[0].name} (not an image)" in result.stdout
    assert "not sound: dtd" in result.stderr


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_a_wrong_name_suggests_the_nearest(command: str, gift: Callable[..., Result]) -> None:
    result = gift(command, "flower")
    assert result.exit_code == 1 and "Did you mean 'flowers'?" in result.stderr


@pytest.mark.parametrize(("arguments", "said"), [
    ((), "name data sets, or write --all"),
    (("dtd", "--all"), "name data sets, or write --all"),
    (("--all",), "no task needs data. Name a data set, or add your images: gift add-task"),
])  # fmt: skip
def test_fetch_says_what_to_name(arguments: tuple[str, ...], said: str, gift: Callable[..., Result]) -> None:
    result = gift("fetch", *arguments)
    assert result.exit_code == 1 and said in result.stderr


def test_status_loads_neither_torch_nor_torchvision(tmp_path: Path, project: Path) -> None:
    make_tree("dtd", tmp_path / "data" / "0_raw" / "dtd")
    program = """
import sys
from stages.app import app
app(["data", "status", "dtd", "--root", sys.argv[1]], standalone_mode=False)
assert not {"torch", "torchvision"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=project, check=True, capture_output=True)
