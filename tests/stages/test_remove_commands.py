"""`gift remove-task` and `gift remove-method`, as a person types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gift_core.code.stage_graph import list_stages
from gift_core.config.loading import load_config
from gift_core.config.overlays import complete_text
from gift_core.layout import Layout
from tests.artifacts.damage import tree_hash
from tests.clone import copy_of
from tests.datasets.folders import flat_birds
from tests.imports import ROOT
from tests.stages.experiment import Gift, invoke

PARAMS = Path("params.yaml")


def stages_now() -> set[str]:
    return set(list_stages(ROOT, load_config(PARAMS).model_dump(mode="json")))


def all_ran() -> None:
    """Writes the dvc.lock of a run of all stages."""
    lock = "".join(f"  {stage}:\n    cmd: python -m stages\n" for stage in sorted(stages_now()))
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n{lock}", encoding="utf-8")


def test_an_added_task_is_taken_back_and_its_images_are_named(
    gift: Gift, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before, stages = PARAMS.read_bytes(), stages_now()
    photos = flat_birds(tmp_path_factory.mktemp("photos"))
    added = gift("add-task", "owls", "--images", str(photos), "--link").output
    assert "To take it back: gift remove-task owls" in added
    gone = stages_now() - stages
    all_ran()
    Layout(Path()).task("owls").mkdir(parents=True)
    output = gift("remove-task", "owls").output
    assert PARAMS.read_bytes() == before
    assert all(stage in output for stage in gone)
    assert "Next: dvc repro, which runs for it\n  check, report\n" in output and "Learned again" not in output
    assert "\n  data/1_tasks/owls\n" in output and "dvc gc --workspace" in output
    assert f"The images stay in data/0_raw/owls, a link to {photos}." in output
    assert Path("data/0_raw/owls").is_symlink()
    gift("add-task", "owls", "--images", str(photos), "--link")  # the link is still right


def test_the_tasks_after_a_removed_one_are_learned_again(gift: Gift) -> None:
    all_ran()
    assert [step.task for step in load_config(PARAMS).sequence][2:] == ["zodiac", "digits", "greek", "arrows"]
    document = json.loads(gift("remove-task", "zodiac", "--json").stdout)
    assert document["learned_again"] == ["digits", "greek", "arrows"]
    assert {"ingest@zodiac", "synthesize@2", "finetune@gift-step2"} < set(document["stages_gone"])
    once = {"check", "report", *(f"{stage}@{step}" for stage in ("write_prompts", "synthesize") for step in (2, 3, 4))}
    assert {stage for stage in document["stages"] if "-step" not in stage} == once
    assert "Learned again, at an earlier step than before: greek, arrows" in gift("remove-task", "digits").output


def test_a_method_goes_with_its_row_and_its_stages(gift: Gift) -> None:
    before = PARAMS.read_bytes()
    gift("add-method", "strong", "--from", "gift")
    all_ran()
    for folder in (Layout(Path()).model, Layout(Path()).released):
        folder("strong", "letters").mkdir(parents=True)
    document = json.loads(gift("remove-method", "strong", "--json").stdout)
    assert PARAMS.read_bytes() == before
    assert len(document["stages_gone"]) == 3 * 6 and document["stages"] == ["check", "report"]
    assert document["results"] == ["data/5_models/strong", "data/6_released/strong"]


def test_a_dry_run_and_an_unknown_name_write_nothing(gift: Gift) -> None:
    before = tree_hash(Path())
    for command, name, unknown in (("remove-task", "digits", "digit"), ("remove-method", "gift", "gfit")):
        assert "would no longer have" in gift(command, name, "--dry-run").output
        assert json.loads(gift(command, name, "--dry-run", "--json").stdout)["written"] is False
        assert f"unknown name '{unknown}'. Did you mean '{name}'?" in gift(command, unknown, expect=1).output
    assert "Known: arrows, cyrillic, digits, games" in gift("remove-task", "digits", "digit", expect=1).output
    assert tree_hash(Path()) == before


@pytest.mark.end_to_end
def test_dvc_runs_the_stages_that_the_removal_of_the_first_task_names(first_result: Path, tmp_path: Path) -> None:
    clone = copy_of(first_result / "gift", tmp_path / "gift")
    project = ["--params", str(clone.folder / PARAMS), "--root", str(clone.folder)]
    done = invoke("remove-task", "letters", *project, "--json")
    ran = clone.repro()
    assert sorted(ran) == sorted(json.loads(done.stdout)["stages"]) and "finetune@gift-step0" in ran
    clone.undo()
    assert clone.repro() == ["check"]  # the rest comes from the cache


def test_without_a_task_each_command_says_how_to_add_one(gift: Gift) -> None:
    PARAMS.write_text(complete_text(ROOT / "presets" / "bring_your_own.yaml"), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    expected = "params.yaml: tasks: there is no task to learn yet. Add one: gift add-task NAME --images FOLDER"
    for words in ("check", "run", "run --dry", "show"):
        assert expected in gift(*words.split(), expect=1).output
    assert "there is no task to learn yet. Add one: gift add-task NAME" in gift("doctor", "--quick", expect=1).output
    assert "there is no task to learn yet. Add one: gift add-task NAME" in gift("data", "status").output
