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

from gift_core.code.versions import TABLE
from recipes.versions.record import record
from tests.clone import TASKS, Clone, clone_of, commit, copy_of, edit_function, new_project, small
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which every toy stage has run with the recorded code."""
    project = new_project(tmp_path_factory.mktemp("versions") / "project")
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
    record(project.folder)
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


def raise_version(folder: Path, stage: str, sentence: str) -> None:
    """Gives the stage one more version, and records the code."""
    table = folder / TABLE
    versions = yaml.safe_load(table.read_text(encoding="utf-8"))
    versions[stage][len(versions[stage]) + 1] = sentence
    table.write_text(yaml.safe_dump(versions), encoding="utf-8")
    record(folder)


def test_an_edit_runs_the_stages_that_import_it_and_an_update_without_a_version_none(finished: Clone) -> None:
    edit_function(finished.folder, "gift_core/driving/processes.py", "Processes.sum_gradients")
    assert set(finished.repro()) == {"check", *of("finetune", *METHODS)}
    edit_function(finished.folder, "gift_core/method/losses.py", "align")
    record(finished.folder)
    assert finished.repro() == ["check"] and finished.repro() == []
    finished.undo()
    assert finished.repro() == ["check"]


def test_an_update_with_a_new_version_runs_the_stage_and_gift_why_says_it(finished: Clone, tmp_path: Path) -> None:
    clone = copy_of(finished.folder, tmp_path / "clone")
    edit_function(clone.folder, "gift_core/method/consolidation.py", "AdaptiveFisher.observe")
    params = clone.params
    params["methods"]["ewc"]["consolidation"]["weight"] = 0.5
    clone.write_params(params)
    printed = clone.run(sys.executable, "-m", "stages", "why")
    assert "  edited since it ran: gift_core/method/consolidation.py\n" in printed
    assert "  methods.ewc.consolidation.weight: 0.1 -> 0.5\n" in printed
    assert "Note: 1 file of the code edited (gift_core/method/consolidation.py).\n" in printed
    file = clone.folder / "data/code/finetune/gift.json"
    former = json.loads(file.read_text(encoding="utf-8"))["version"]
    raise_version(clone.folder, "finetune", "the penalty counts from 0")
    printed = clone.run(sys.executable, "-m", "stages", "why")
    expected = f"  version of finetune: {former} -> {former + 1} (the penalty counts from 0)\n"
    assert expected in printed and "Note" not in printed
    stale = {"check", *of("finetune", *METHODS)}
    found = json.loads(clone.run(sys.executable, "-m", "stages", "why", "--json"))
    assert {name for each in found["stale"] for name in each["stages"]} == stale == set(clone.repro())
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["version"] == former + 1 and "edited" not in content


def test_a_new_file_runs_check_alone_and_an_edited_one_the_stages_that_read_it(finished: Clone, tmp_path: Path) -> None:
    clone = copy_of(finished.folder, tmp_path / "clone")
    raw = clone.folder / "data" / "0_raw"
    params = clone.params
    lora = {"path": "data/0_raw/generators/styles", "weight_name": "ink.safetensors", "scale": 1.0}
    params["generator"]["lora"] = lora
    params["prompts"] |= {"strategy": "captions", "captions": "data/0_raw/prompts/captions.csv"}
    (raw / "generators" / "styles").mkdir()
    ink, captions = raw / "generators" / "styles" / "ink.safetensors", raw / "prompts" / "captions.csv"
    ink.write_text("one")
    captions.write_text("class_name,caption\nhouse,a house\n")
    clone.write_params(params)
    prompts, images = ({f"{stage}@{step}" for step in STEPS} for stage in ("write_prompts", "synthesize"))
    assert set(clone.repro()) == {"check", "report", *prompts, *images}  # its page has these settings
    for folder in ("generators/styles", "generators", "models", "prompts", "reference"):
        (raw / folder / "another.bin").write_text("another")
        assert clone.repro() == ["check"]
    ink.write_text("two")
    assert "  data/0_raw/generators/styles/ink.safetensors changed\n" in clone.run(
        sys.executable, "-m", "stages", "why"
    )
    assert set(clone.repro()) == {"check", *images}
    captions.write_text("class_name,caption\nhouse,a small house\n")
    assert set(clone.repro()) == {"check", *prompts}
    ink.unlink()  # it is not on this machine
    assert clone.repro() == ["check"]


def test_gift_why_says_how_to_get_missing_outputs(finished: Clone, tmp_path: Path) -> None:
    fresh = clone_of(finished, tmp_path / "fresh")
    lock = fresh.folder / "dvc.lock"
    lock.write_text(lock.read_text(encoding="utf-8").replace("size: ", "size: 10000"))  # a megabyte or more each
    assert "make get" not in fresh.run(sys.executable, "-m", "stages", "why")  # there is no remote
    fresh.run(sys.executable, "-m", "dvc", "remote", "add", "--default", "shared", str(tmp_path / "shared"))
    printed = fresh.run(sys.executable, "-m", "stages", "why")
    assert "import_model would run:\n  its outputs are not here; dvc.lock records them\n" in printed
    assert "need not be made again. Pull them (" in printed and "B): make get\n" in printed and "(0.0" not in printed
    raw = "data/0_raw/packed is missing. To do without it: dvc repro --allow-missing"
    assert f"ingest@{TASKS[1]} would run:\n  {raw}\n" in printed
    assert "long they take is not known yet" in printed and "data/6_" not in printed  # folders in which others write
