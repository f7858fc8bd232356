"""Which stages DVC runs after an edit of the code and after an update: real DVC, the real check, toys for the rest.

The commands of all stages but check only write their outputs, so that a repro takes seconds. What they write is always
the same, so the stages that run are those that have changed themselves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.code.fingerprint import REVISIONS, VERIFIED, Code
from tests.clone import PROBE, TASKS, Clone, clone_of, commit, copy_of, edit_function, new_project, small
from tests.imports import with_all_methods

pytestmark = pytest.mark.end_to_end
METHODS = ("finetune", "ewc", "gift", "gift_vocabulary", "icarl")
STEPS = range(2)
TOY = """import pathlib, sys
for name in sys.argv[1:]:
    path = pathlib.Path(name)
    for file in [path] if path.suffix else [path / "task.json", path / "provenance.json", path / "source.json"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
"""


def of(stage: str, *methods: str) -> set[str]:
    return {f"{stage}@{method}-step{step}" for method in methods for step in STEPS}


# The file and the function: the stages that run besides check.
EDITS: dict[str, tuple[str, str, set[str]]] = {
    "a loss": ("gift_core/method/losses.py", "distill_vocabulary", of("finetune", "gift_vocabulary")),
    "Fisher information": ("gift_core/method/replay/fisher.py", "per_sample", of("teach", "ewc")),
    "a consolidation": ("gift_core/method/consolidation.py", "AdaptiveFisher.observe", of("finetune", "gift")),
    "a kind of replay": (
        "gift_core/method/replay/exemplars.py",
        "ExemplarReplay.teach",
        of("teach", "icarl") | of("finetune", "icarl"),
    ),
    "a reader": ("gift_core/datasets/webdataset.py", "list_tars", {f"ingest@{TASKS[1]}"}),
    "the loop": ("gift_core/method/training/loop.py", "learning_rates", of("finetune", *METHODS)),
    "the accuracy": (
        "gift_core/method/evaluation.py",
        "evaluate_task_incremental",
        of("evaluate", *METHODS) | {f"probe@{PROBE}"},
    ),
    "a message": ("gift_core/progress.py", "progress_bar", set()),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which every toy stage has run with the verified code."""
    project = new_project(tmp_path_factory.mktemp("revisions") / "project")
    (project.folder / "toy.py").write_text(TOY, encoding="utf-8")
    pipeline = yaml.safe_load((project.folder / "dvc.yaml").read_text(encoding="utf-8"))
    for name, block in pipeline["stages"].items():
        if name != "check":
            body = block.get("do", block)
            outs = [*body["outs"], *body.get("metrics", [])]
            names = [next(iter(each)) if isinstance(each, dict) else each for each in outs]
            body["cmd"] = " ".join([sys.executable, "toy.py", *(f"'{each}'" for each in names)])
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")
    project.write_params(changed_params(project.params))
    (project.folder / "data" / "0_raw" / "packed").mkdir()
    (project.folder / "data" / "0_raw" / "packed" / "image.png").touch()
    record_as_verified(project.folder)
    project.repro()
    commit(project, "the first result")
    return project


def changed_params(params: dict[str, Any]) -> dict[str, Any]:
    """The small experiment, whose second task is of tars."""
    rows, params = with_all_methods(params)["methods"], small(params)
    tars = {"source": "webdataset", "path": "data/0_raw/packed", "train": "*.tar", "test": None, "label": "cls"}
    params["tasks"][TASKS[1]] = {**tars, "templates": ["a {}."], "test_fraction": 0.5, "on_bad_image": "refuse"}
    params["methods"] = {name: rows[name] for name in METHODS}
    params["run"]["methods"] = list(METHODS)
    return params


def record_as_verified(folder: Path, *risen: str) -> None:
    """Does what `make revisions` does at its end: the code is verified, and the revisions of these parts rise."""
    table = folder / REVISIONS
    rows = json.loads(table.read_text(encoding="utf-8"))
    for name in risen:
        rows[name] = {"revision": rows[name]["revision"] + 1, "reasons": {**rows[name]["reasons"], "2": "for a test"}}
    table.write_text(json.dumps(rows), encoding="utf-8")
    (folder / VERIFIED).write_text(json.dumps(Code(folder).record()), encoding="utf-8")


@pytest.mark.parametrize(("file", "function", "expected"), EDITS.values(), ids=EDITS)
def test_an_edit_runs_the_stages_that_use_the_function_and_undoing_it_runs_nothing(
    finished: Clone, file: str, function: str, expected: set[str]
) -> None:
    edit_function(finished.folder, file, function)
    assert set(finished.repro()) == expected | {"check"}
    finished.undo()
    # DVC's run cache has no stage whose output stays while it runs (persist)
    assert set(finished.repro()) == {"check", *(stage for stage in expected if stage.startswith("ingest"))}


def test_an_update_with_a_new_revision_runs_what_uses_the_part_and_gift_why_says_so(
    finished: Clone, tmp_path: Path
) -> None:
    clone = copy_of(finished.folder, tmp_path / "clone")
    edit_function(clone.folder, "gift_core/method/losses.py", "align")
    clone.edit("gift_core/driving/training.py", "Drives a training run", "Drives one training run")
    params = clone.params
    params["methods"]["ewc"]["consolidation"]["weight"] = 0.5
    clone.write_params(params)
    printed = clone.run(sys.executable, "-m", "stages", "why")
    (line,) = [line for line in printed.splitlines() if "finetune@gift-step0" in line]
    assert set(line.removesuffix(" would run:").split(", ")) == of("finetune", "gift", "gift_vocabulary")
    assert "  edited since it ran: gift_core/method/losses.py: align\n" in printed
    others = "1 file edited that no stage depends on (gift_core/driving/training.py)"
    assert f"Note: 1 file of the code edited; {others}.\n" in printed
    assert "  methods.ewc.consolidation.weight: 0.1 -> 0.5\n" in printed
    record_as_verified(clone.folder, "finetune losses.align")
    printed = clone.run(sys.executable, "-m", "stages", "why")
    assert "  revision of finetune losses.align: 1 -> 2 (for a test)\n" in printed
    stale = {"check", *of("finetune", "gift", "gift_vocabulary", "ewc")}
    found = json.loads(clone.run(sys.executable, "-m", "stages", "why", "--json"))
    assert {name for each in found["stale"] for name in each["stages"]} == stale == set(clone.repro())
    content = json.loads((clone.folder / "data/code/finetune/gift.json").read_text(encoding="utf-8"))
    assert content["revisions"]["finetune losses.align"] == 2 and "edited" not in content


def test_gift_why_says_how_to_get_missing_outputs(finished: Clone, tmp_path: Path) -> None:
    fresh = clone_of(finished, tmp_path / "fresh")
    lock = fresh.folder / "dvc.lock"
    lock.write_text(lock.read_text(encoding="utf-8").replace("size: ", "size: 10000"))  # a megabyte or more each
    printed = fresh.run(sys.executable, "-m", "stages", "why")
    assert "import_model would run:\n  its outputs are not here; dvc.lock records them\n" in printed
    assert "need not be made again. Pull them (" in printed and "B): make get\n" in printed and "(0.0" not in printed
    raw = "data/0_raw/packed is missing. To do without it: dvc repro --allow-missing"
    assert f"ingest@{TASKS[1]} would run:\n  {raw}\n" in printed
    assert "long they take is not known yet" in printed and "data/6_" not in printed  # folders in which others write
