"""`gift add-method`, `gift remove-method` and `gift remove-task`, as a person types them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.loading import load_config
from gift_core.config.presets import complete_text
from tests.artifacts.damage import tree_hash
from tests.datasets.folders import flat_birds
from tests.imports import ROOT
from tests.stages.experiment import Gift

PARAMS = Path("params.yaml")


@pytest.fixture
def add(gift: Gift) -> Gift:
    return partial(gift, "add-method")


def test_a_copy_with_changes_becomes_a_method_that_runs(add: Gift) -> None:
    output = add("strong", "--from", "gift", "--set", "losses.distill.weight=2.0", "--set", "learning_rate=1e-4").output
    assert output.startswith("strong: a copy of gift\n")
    assert "\n+      distill: {weight: 2.0, temperature: 2.0}\n" in output
    assert "To take it back: gift remove-method strong" in output
    config = load_config(PARAMS)
    gift, strong = config.methods["gift"], config.methods["strong"]
    changed = {"losses", "learning_rate"}
    assert strong.losses.distill is not None
    assert (strong.losses.distill.weight, strong.learning_rate) == (2.0, 1e-4)
    assert strong.model_dump(exclude=changed) == gift.model_dump(exclude=changed)
    assert config.run.methods == ("finetune", "gift", "strong")


def test_a_method_goes_with_its_row(add: Gift, gift: Gift) -> None:
    before = PARAMS.read_bytes()
    add("strong", "--from", "gift")
    assert json.loads(gift("remove-method", "strong", "--json").stdout) == {"method": "strong", "written": True}
    assert PARAMS.read_bytes() == before


def test_a_method_of_the_catalogue_comes_with_the_numbers_of_the_experiment(add: Gift, mini_params: Any) -> None:
    """Those of the miniature, and what counts iterations for the 200 of mini; at full size those of the paper."""
    output = add("zscl").output
    assert output.startswith("zscl: a row of the catalogue\n")
    row = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["methods"]["zscl"]
    assert row == mini_params["methods"]["zscl"]
    assert (row["learning_rate"], row["average"]["every"]) == (5e-4, 20)
    assert "  zscl:                      # ZSCL: the pre-trained model as" in PARAMS.read_text("utf-8")
    PARAMS.write_text(complete_text(ROOT / "presets" / "bring_your_own.yaml"), encoding="utf-8")
    assert add("zscl", "--set", "layer_decay=0.9").output.startswith("zscl: a row of the catalogue with changes\n")
    config = load_config(PARAMS)
    assert config.methods["zscl"].learning_rate == 1e-5 and config.methods["zscl"].average.every == 100
    assert config.run.methods == ("finetune", "gift", "gift_vocabulary_released", "zscl")
    assert add("mine", "--from", "icarl").output.startswith("mine: a copy of icarl\n")


def test_a_project_may_have_a_catalogue_of_its_own_and_a_damaged_one_is_named(gift: Gift) -> None:
    row = "mine:\n  about: Our best.\n  learning_rate: 1.0e-3\n  replay: {images: none}\n  losses: {}\n"
    catalogue = Path("presets/methods.yaml")
    catalogue.parent.mkdir()
    catalogue.write_text(f"{row}  consolidation: {{kind: none}}\n\n# ours\n", encoding="utf-8")
    lines = gift("methods").output.splitlines()
    assert "gift *      Your own: only params.yaml has it." in lines and "mine        Our best." in lines
    gift("add-method", "mine")
    listed = {each["method"]: each for each in json.loads(gift("methods", "--json").output)}
    assert listed["mine"] == {"method": "mine", "about": "Our best.", "runs": True, "in_params": True}
    assert not listed["joint"]["runs"]
    for damaged in ("mine: 3\n", "mine: [\n"):
        catalogue.write_text(damaged, encoding="utf-8")
        assert "presets/methods.yaml: it should have `about` and the row of each" in gift("methods", expect=1).stderr


def test_a_row_that_is_there_only_gets_its_name_in_run_methods(add: Gift) -> None:
    before = PARAMS.read_text(encoding="utf-8")
    output = add("joint").output
    assert output.startswith("joint: its row is in methods already\n")
    assert "To take it back: remove joint from run.methods" in output
    assert PARAMS.read_text(encoding="utf-8") == before.replace("  - gift\n", "  - gift\n  - joint\n", 1)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("jiont", "gift add-method: unknown name 'jiont'. Did you mean 'joint'?"),
        ("x --from gfit", "gift add-method --from: unknown name 'gfit'. Did you mean 'gift'?"),
        ("gift", "params.yaml: methods.gift: already exists; it runs already. Choose another name for a copy."),
        ("joint --from ewc", "already exists; to run it as it is: gift add-method joint. Choose another"),
        ("x --set learning_rate=fast", "methods.x.learning_rate: should be a valid number, it is 'fast'."),
        ("x --set learning_rate=[1", "--set learning_rate=[1: should be KEY=VALUE with a value of YAML"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(words: str, expected: str, add: Gift) -> None:
    before = PARAMS.read_bytes()
    message = add(*words.split(), expect=1).stderr
    assert message.startswith("error: ") and expected in message
    assert PARAMS.read_bytes() == before


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
    for words in ("check", "run", "show"):
        assert expected in gift(*words.split(), expect=1).output
    assert "there is no task to learn yet. Add one: gift add-task NAME" in gift("doctor", "--quick", expect=1).output
    assert "there is no task to learn yet. Add one: gift add-task NAME" in gift("data", "status").output
