"""Reading a run: what does not fit is refused with the remedy, and what is retired is moved away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gift_core.artifacts.accuracy import write_empty_accuracy
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.accuracy_tables import result_rows
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from tests.report.run_folder import (
    MATRICES,
    TASKS,
    build,
    change_accuracies,
    write_params,
    write_run,
)
from tests.stages.experiment import invoke

Damage = Callable[[Path], object]
REFUSED: dict[str, tuple[Damage, str]] = {
    "no accuracies": (
        lambda root: (root / "data/6_accuracy/gift/textures.parquet").unlink(),
        r"6_accuracy/gift/textures\.parquet.*dvc repro evaluate",
    ),
    "no manifest": (lambda root: (root / "data/3_shards/zodiac/manifest.json").unlink(), "3_shards/zodiac"),
    "no row": (
        lambda root: change_accuracies(root, "gift", "zodiac", keep="step != 1 or eval_task != 'zodiac'"),
        "gift.*step 1 on zodiac",
    ),
    "different pre-trained models": (
        lambda root: change_accuracies(root, "gift", "zodiac", **{"model:pretrained": "f" * 64}),
        "finetune and gift .* different versions of model:pretrained",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_missing_or_does_not_fit_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    damage, message = REFUSED[name]
    config = write_run(tmp_path)
    damage(tmp_path)
    with pytest.raises(ContractError, match=message):
        build(tmp_path, config)
    assert not (tmp_path / "reports").exists()


def test_a_zero_shot_method_is_the_zero_shot_row_and_without_replay_no_pairs_are_needed(tmp_path: Path) -> None:
    zero_shot = [MATRICES["gift"][0]] * 4
    config = write_run(tmp_path, matrices={"zero_shot": zero_shot, "finetune": MATRICES["finetune"]})
    (Layout(tmp_path).shards("zodiac") / "manifest.json").unlink()
    record = read_run(Layout(tmp_path), config)
    assert record.methods == ("finetune",) and list(record.metrics) == ["zero_shot", "finetune"]
    assert record.metrics["zero_shot"]["last"] == 50.0
    assert [row.name for row in result_rows(record)] == ["Zero-shot", "Fine-tuning"]
    assert 'id="pairs"' not in render_page(record)


def run(root: Path, stage: str, params: Path | None = None) -> str:
    """What the stage prints. The report may refuse what it reads after it moved retired results."""
    return invoke(stage, "--params", params or root / "params.yaml", "--root", root).output


def files(root: Path) -> set[str]:
    folder = Layout(root).pretrained_accuracy().parent
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run of finetune and gift whose accuracy folder has the files of others: a method, a task, and notes."""
    write_run(tmp_path, matrices={"icarl": MATRICES["gift"], **MATRICES})
    write_params(tmp_path, TASKS, tuple(MATRICES))
    layout = Layout(tmp_path)
    shutil.copy(layout.accuracy("gift", "letters"), layout.accuracy("gift", "faces"))
    write_empty_accuracy(layout.pretrained_accuracy(), {})
    for name in NOT_OURS:
        file = layout.pretrained_accuracy().parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    return tmp_path


OWN = {f"{method}/{task}.parquet" for method in MATRICES for task in TASKS} | {"pretrained.parquet"}
NOT_OURS = {"notes.txt", "gift/notes.txt", "theirs/deeper/a.parquet", "theirs.parquet"}
LEFT = {f"icarl/{task}.parquet" for task in TASKS} | {"gift/faces.parquet"}


@pytest.mark.parametrize("stage", ["check", "report"])
def test_retired_results_are_moved_with_their_predictions_and_named(root: Path, stage: str) -> None:
    layout = Layout(root)
    kept = {name: (root / "data/6_accuracy" / name).read_bytes() for name in LEFT}
    for method, task in (("icarl", "letters"), ("gift", "letters")):
        layout.predictions(method, task).parent.mkdir(parents=True, exist_ok=True)
        layout.predictions(method, task).write_bytes(f"{method} {task}".encode())
    layout.probe("faces").parent.mkdir(exist_ok=True)
    layout.probe("faces").write_text("of a retired probe")
    assert "gift/faces, icarl/letters, icarl/textures, icarl/zodiac" in run(root, stage)
    assert files(root) == OWN | NOT_OURS
    assert {name: (root / ".gift/retired" / name).read_bytes() for name in LEFT} == kept
    assert not layout.accuracy("icarl", "letters").parent.exists()
    assert layout.predictions("gift", "letters").is_file() and not layout.predictions("icarl", "letters").exists()
    assert layout.retired("icarl", "letters.predictions").read_bytes() == b"icarl letters"
    assert layout.retired("probes", "faces").read_text() == "of a retired probe"
    layout.accuracy("icarl", "letters").parent.mkdir()
    shutil.copy(layout.accuracy("gift", "letters"), layout.accuracy("icarl", "letters"))
    run(root, stage)  # a method that is retired a second time
    assert files(root) == OWN | NOT_OURS


@pytest.mark.parametrize("methods", [["gift"], ["gitf"]], ids=["another file", "a bad file"])
def test_another_params_file_and_a_bad_one_move_nothing(root: Path, methods: list[str]) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["run"]["methods"] = methods
    file = root / ("small.yaml" if methods == ["gift"] else "params.yaml")
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    run(root, "check", file)
    assert files(root) == OWN | NOT_OURS | LEFT
