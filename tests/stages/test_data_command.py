"""`gift data`: what status shows and exits with, what fetch explains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.datasets.catalogue.trees import make_tree
from tests.datasets.folders import flat_birds
from tests.stages.experiment import Gift, invoke

OWN = {
    "source": "folder", "path": "data/0_raw/birds", "templates": ["a photo of a {}."], "test_fraction": 0.2,
    "on_bad_image": "refuse",
}  # fmt: skip
Written = Callable[[dict[str, Any]], Path]


def row(dataset: str, **changes: Any) -> dict[str, Any]:
    return {"source": "catalogue", "dataset": dataset, "path": f"data/0_raw/{dataset}", **changes}


@pytest.fixture
def gift(tmp_path: Path, mini_params: dict[str, Any], write_params: Written) -> Gift:
    """Runs `gift data ...` in tmp_path, with some tasks of the catalogue beside the miniature's."""

    def run(*arguments: str, tasks: dict[str, dict[str, Any]] | None = None) -> Result:
        mini_params["tasks"].update(tasks or {})
        params = write_params(mini_params)
        return invoke("data", *arguments, "--params", params, "--root", tmp_path)

    return run


def test_status_shows_own_tasks_first_and_fails_where_images_are_missing(gift: Gift, tmp_path: Path) -> None:
    flat_birds(tmp_path / "data" / "0_raw")
    tasks = {"textures2": row("dtd", allow_partial=True), "birds": OWN, "owls": {**OWN, "path": "data/0_raw/owls"}}
    make_tree("dtd", tmp_path / "data" / "0_raw" / "dtd")
    result = gift("status", tasks=tasks)
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith(("birds ", "owls ", "dtd "))]
    assert lines[0][:5] == ["birds", "1", "complete", "16", "4"]
    assert lines[1][:5] == ["owls", "1", "missing", "0", "0"]
    assert lines[2][:3] == ["dtd", "1", "partial"]
    assert "dtd: " not in result.stderr  # its task allows a part
    assert "owls: params.yaml: tasks.owls.path: " in result.stderr and "gift data fetch owls" not in result.stderr
    del tasks["owls"]
    assert gift("status", "birds", tasks=tasks).exit_code == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("status", "gift data fetch dtd"),
        ("fetch birds", "birds has your own images, which nothing can download"),
        ("fetch stanford_cars sun397", "not complete: stanford_cars, sun397"),
        ("fetch flower", "Did you mean 'flowers'?"),
    ],
)
def test_what_is_wrong_or_missing_is_said_and_nothing_is_written(
    words: str, expected: str, gift: Gift, tmp_path: Path
) -> None:
    result = gift(*words.split(), tasks={"birds": OWN, "textures2": row("dtd")})
    assert result.exit_code == 1 and expected in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_data_set_without_training_images_can_only_be_a_probe(
    tmp_path: Path, mini_params: dict[str, Any], write_params: Written
) -> None:
    make_tree("imagenet", tmp_path / "data" / "0_raw" / "imagenet", classes=3)
    mini_params["tasks"]["imagenet"] = row("imagenet", allow_partial=True)
    command = ("ingest", "imagenet", "--root", tmp_path, "--params")
    result = invoke(*command, write_params(mini_params))
    assert result.exit_code == 1 and "imagenet has no training images, so it can only be a probe" in str(result.output)
    mini_params["evaluation"]["probes"] = ["imagenet"]
    assert invoke(*command, write_params(mini_params)).exit_code == 0
