"""`gift remove-task` and `gift remove-method`, as a person types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gift_core.config.loading import load_config
from gift_core.config.presets import complete_text
from tests.artifacts.damage import tree_hash
from tests.datasets.folders import flat_birds
from tests.imports import ROOT
from tests.stages.experiment import Gift

PARAMS = Path("params.yaml")


def test_an_added_task_is_taken_back_and_its_images_stay(gift: Gift, tmp_path_factory: pytest.TempPathFactory) -> None:
    before, photos = PARAMS.read_bytes(), flat_birds(tmp_path_factory.mktemp("photos"))
    PARAMS.rename("own.yaml")
    PARAMS.symlink_to("own.yaml")
    gift("add-task", "owls", "--images", str(photos), "--link")
    output = gift("remove-task", "owls").output
    assert PARAMS.is_symlink() and PARAMS.read_bytes() == before and "\n-  owls:\n" in output
    assert "Next: dvc repro (gift why says which" in output and "earlier step" not in output
    assert Path("data/0_raw/owls").is_symlink()
    gift("add-task", "owls", "--images", str(photos), "--link")  # the link is still right


def test_the_tasks_after_a_removed_one_that_were_learned_are_learned_again(gift: Gift) -> None:
    assert [step.task for step in load_config(PARAMS).sequence][2:] == ["zodiac", "digits", "greek", "arrows"]
    assert json.loads(gift("remove-task", "zodiac", "--dry-run", "--json").stdout)["learned_again"] == []  # none ran
    for task in ("zodiac", "digits", "greek"):
        Path("data/5_models/gift", task).mkdir(parents=True)
    document = json.loads(gift("remove-task", "zodiac", "--json").stdout)
    assert document == {"tasks": ["zodiac"], "learned_again": ["digits", "greek"], "written": True}
    assert "Learned again, at an earlier step than before: greek\n" in gift("remove-task", "digits").output


def test_a_method_goes_with_its_row(gift: Gift) -> None:
    before = PARAMS.read_bytes()
    gift("add-method", "strong", "--from", "gift")
    assert json.loads(gift("remove-method", "strong", "--json").stdout) == {"method": "strong", "written": True}
    assert PARAMS.read_bytes() == before


def test_a_dry_run_and_an_unknown_name_write_nothing(gift: Gift) -> None:
    before = tree_hash(Path())
    for command, name, unknown in (("remove-task", "digits", "digit"), ("remove-method", "gift", "gfit")):
        assert "nothing was written" in gift(command, name, "--dry-run").output
        assert json.loads(gift(command, name, "--dry-run", "--json").stdout)["written"] is False
        assert f"unknown name '{unknown}'. Did you mean '{name}'?" in gift(command, unknown, expect=1).output
    assert "Known: arrows, cyrillic, digits, games" in gift("remove-task", "digits", "digit", expect=1).output
    assert tree_hash(Path()) == before


def test_without_a_task_each_command_says_how_to_add_one(gift: Gift) -> None:
    PARAMS.write_text(complete_text(ROOT / "presets" / "bring_your_own.yaml"), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    expected = "params.yaml: tasks: there is no task to learn yet. Add one: gift add-task NAME --images FOLDER"
    for words in ("check", "run", "run --dry", "show"):
        assert expected in gift(*words.split(), expect=1).output
    assert "there is no task to learn yet. Add one: gift add-task NAME" in gift("doctor", "--quick", expect=1).output
    assert "there is no task to learn yet. Add one: gift add-task NAME" in gift("data", "status").output
