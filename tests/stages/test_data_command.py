"""`gift data`: what status shows and exits with, what fetch explains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.datasets.catalogue.trees import make_tree
from tests.datasets.folders import flat_birds, folder_row
from tests.stages.experiment import Experiment, Gift


def row(dataset: str, **changes: Any) -> dict[str, Any]:
    return {"source": "catalogue", "dataset": dataset, "path": f"data/0_raw/{dataset}", **changes}


@pytest.fixture
def gift(tmp_path: Path, mini_params: dict[str, Any]) -> Gift:
    """Runs a command in tmp_path, with some tasks of the catalogue beside the miniature's."""

    def run(*words: str, tasks: dict[str, dict[str, Any]], expect: int = 0) -> Result:
        mini_params["tasks"].update(tasks)
        return Experiment(tmp_path, mini_params).gift(*words, expect=expect)

    return run


def test_status_shows_own_tasks_first_and_fails_where_images_are_missing(gift: Gift, tmp_path: Path) -> None:
    flat_birds(tmp_path / "data" / "0_raw")
    tasks = {"textures2": row("dtd", allow_partial=True), "birds": folder_row(), "owls": folder_row("data/0_raw/owls")}
    make_tree("dtd", tmp_path / "data" / "0_raw" / "dtd")
    result = gift("data", "status", tasks=tasks, expect=1)
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith(("birds ", "owls ", "dtd "))]
    assert lines[0][:5] == ["birds", "1", "complete", "16", "4"]
    assert lines[1][:5] == ["owls", "1", "missing", "0", "0"]
    assert lines[2][:3] == ["dtd", "1", "partial"]
    assert "dtd: " not in result.stderr  # its task allows a part
    assert "owls: params.yaml: tasks.owls.path: " in result.stderr and "gift data fetch owls" not in result.stderr
    gift("data", "status", "birds", tasks={})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("status", "gift data fetch dtd"),
        ("fetch birds", "birds has your own images, which nothing can download"),
        ("fetch stanford_cars sun397", "not complete: stanford_cars, sun397"),
        ("fetch flower", "Did you mean 'flowers'?"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(words: str, expected: str, gift: Gift, tmp_path: Path) -> None:
    tasks = {"birds": folder_row(), "textures2": row("dtd")}
    assert expected in gift("data", *words.split(), tasks=tasks, expect=1).stderr
    assert not (tmp_path / "data").exists()


def test_without_training_images_it_is_only_a_probe(gift: Gift, tmp_path: Path, mini_params: dict[str, Any]) -> None:
    make_tree("imagenet", tmp_path / "data" / "0_raw" / "imagenet", classes=3)
    said = gift("ingest", "imagenet", tasks={"imagenet": row("imagenet", allow_partial=True)}, expect=1).output
    assert "imagenet has no training images, so it can only be a probe" in said
    mini_params["evaluation"]["probes"] = ["imagenet"]
    gift("ingest", "imagenet", tasks={})
