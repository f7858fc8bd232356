"""`gift add-task`, `add-method`, `remove-task` and `remove-method`, as a person types them."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from gift_core.config.loading import load_config
from gift_core.config.presets import complete_text
from tests.clone import content
from tests.datasets.folders import birds, flat_birds, folder_row, picture
from tests.imports import ROOT, first_params
from tests.stages import experiment
from tests.stages.experiment import Gift

PARAMS, RAW = Path("params.yaml"), Path("data/0_raw")
add_task, add_method = partial(experiment.gift, "add-task"), partial(experiment.gift, "add-method")
NO_TASK = "there is no task to learn yet. Add one: gift add-task NAME"


@pytest.fixture(autouse=True)
def raw(gift: Gift) -> None:
    """A project of the miniature as the working folder, and birds in data/0_raw: 10 images of each of two classes."""
    flat_birds(RAW)


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flat_birds(tmp_path_factory.mktemp("elsewhere"))


def refused(*words: str) -> str:
    """The message of a command that must fail and leave everything as it was."""
    before = content(Path())
    message = experiment.gift(*words, expect=1).output
    assert content(Path()) == before
    assert message.startswith("error: ")
    return message


def test_a_folder_becomes_the_last_task() -> None:
    (RAW / "birds/notes.txt").touch()
    output = add_task("birds", "--images", "data/0_raw/birds").output
    assert "birds: 2 classes, 16 training images, 4 test images" in output
    assert "  great tit      8     2" in output
    assert "  1 file left out: notes.txt." in output
    config = load_config(PARAMS)
    assert config.tasks["birds"].model_dump(exclude_unset=True) == folder_row(templates=("a photo of a {}.",))
    assert config.sequence[-1].model_dump() == {"task": "birds", "after": "arrows", "learning_rate_factor": 1.0}


def test_what_the_miniature_clip_knows_is_said_with_the_first_task_of_ones_own_alone(gift: Gift) -> None:
    """The doctor says it always. --json has it among the notes."""
    command, warning = ("--images", "data/0_raw/birds"), "The miniature CLIP was pre-trained on drawn symbols"
    assert warning not in add_task("probe", *command, "--probe").output
    assert any(each.startswith(warning) for each in json.loads(add_task("birds", *command, "--json").stdout)["notes"])
    assert warning not in add_task("wrens", *command).output
    gift("remove-task", "birds", "wrens")
    assert warning in add_task("birds", *command).output


def test_a_probe_has_no_step_and_goes_as_it_came_also_where_it_is_the_only_one(gift: Gift) -> None:
    command = ("birds", "--images", "data/0_raw/birds", "--probe", "--check")
    add_task(*command, "--learning-rate-factor", "2", expect=2)
    gift("remove-task", "cyrillic", "games")
    before = PARAMS.read_text(encoding="utf-8")
    assert "  probes: []    " in before
    output = add_task(*command).output
    assert "birds: 2 classes, 2 training images, 18 test images" in output
    assert (
        "  Test images: 99% of each class, by seed (test_fraction).\n  Few training images, because no step" in output
    )
    learned = [step.task for step in load_config(PARAMS).sequence]
    assert load_config(PARAMS).evaluation.probes == ("birds",) and "birds" not in learned
    gift("remove-task", "birds")
    assert PARAMS.read_text(encoding="utf-8") == before
    gift("remove-task", *learned)
    assert "There is no task to learn yet: gift add-task NAME" in add_task(*command).output


def test_every_option_of_a_folder_is_written() -> None:
    (RAW / "birds/names.txt").write_text("Kohlmeise\nZaunkönig\n", encoding="utf-8")
    output = add_task(
        "birds", "--images", "data/0_raw/birds", "--template", "a {}.", "--template", "two {}.",
        "--test-fraction", "0.5", "--on-bad-image", "skip", "--on-duplicate", "skip", "--class-names", "names.txt",
        "--shots", "3", "--learning-rate-factor", "0.5",
    ).output  # fmt: skip
    assert "birds: 2 classes, 6 training images, 10 test images" in output
    assert "  Zaunkönig      3     5\n  prompt: a Kohlmeise.   and 1 other template\n" in output
    config = load_config(PARAMS)
    assert config.tasks["birds"].model_dump() == folder_row(
        templates=("a {}.", "two {}."), test_fraction=0.5, on_bad_image="skip", on_duplicate="skip",
        class_names="names.txt", shots=3,
    )  # fmt: skip
    assert config.sequence[-1].learning_rate_factor == 0.5


def test_a_data_set_with_a_test_split_gets_no_test_fraction_and_its_copies_are_left_out_on_request() -> None:
    folder = birds(RAW / "split")
    picture(folder / "train/wren/copy.png", (1, 0, 5))
    picture(folder / "test/wren/again.png", (1, 1, 5))
    command = ["birds", "--images", str(folder), "--on-duplicate"]
    message = refused("add-task", *command, "keep", "--test-fraction", "0.3")
    assert message == "error: --test-fraction 0.3: the data set has a test split of its own. Leave it out.\n"
    assert "2 classes, 7 training images, 5 test images" in add_task(*command, "keep", "--dry-run").output
    output = add_task(*command, "skip").output
    assert "2 classes, 6 training images, 4 test images" in output
    copies = "train/wren/copy.png (train/wren/0.png), test/wren/again.png (train/wren/1.png)"
    assert f"  2 images left out, as on_duplicate: skip says: {copies}.\n" in output
    assert "test_fraction" not in load_config(PARAMS).tasks["birds"].model_fields_set


def write_table(name: str, **columns: list[str]) -> None:
    """data/0_raw/birds/<name> with its 20 images, their classes, and these columns."""
    files = sorted(path.relative_to(RAW / "birds").as_posix() for path in (RAW / "birds").rglob("*.png"))
    labels = [file.partition("/")[0] for file in files]
    frame = pd.DataFrame(
        {"image": files, "label": labels, "caption": [f"picture of {file}" for file in files], **columns}
    )
    if name == "bytes.parquet":
        frame["image"] = [(RAW / "birds" / file).read_bytes() for file in files]
    write = frame.to_parquet if name.endswith(".parquet") else partial(frame.to_csv, index=False)
    write(RAW / "birds" / name)


@pytest.mark.parametrize("name", ["birds.csv", "birds.parquet", "bytes.parquet"])
@pytest.mark.parametrize("options", [(), ("--captions",), ("--check",)])
def test_the_column_of_splits_in_a_table_is_found_and_said(name: str, options: tuple[str, ...]) -> None:
    """Without it, the split is by seed, which is said, too. `bytes` has the images themselves."""
    write_table(name, part=["Training", "val", "testing", "train"] * 5)
    command = ("birds", "--images", "data/0_raw/birds", "--table", name, *options)
    output = add_task(*command, "--dry-run").output
    assert "10 training images, 5 test images\n" in output
    assert f"  Splits: column 'part' of {name}.\n" in output and "+    split_column: part\n" in output
    assert f"Splits: column 'part' of {name}." in json.loads(add_task(*command, "--json").stdout)["notes"]
    row: Any = load_config(PARAMS).tasks["birds"]
    assert (row.split_column, row.test_fraction) == ("part", None)


def test_a_table_without_a_column_of_splits_is_split_by_seed_and_with_two_one_has_to_be_chosen() -> None:
    splits = ["train", "test"] * 10
    command = ("birds", "--images", "data/0_raw/birds", "--table", "birds.csv")
    write_table("birds.csv", part=[*splits[1:], "holdout"])
    assert "  Test images: 20% of each class, by seed (test_fraction).\n" in add_task(*command, "--dry-run").output
    write_table("birds.csv", part=splits, a_fold=splits[::-1])
    message = " ".join(refused("add-task", *command).split())
    assert message == ("error: --table birds.csv: the columns 'a_fold' and 'part' have the names of splits. "
                       "Choose one: --split-column a_fold")  # fmt: skip
    assert "Splits: column 'part'" in add_task(*command, "--split-column", "part").output


def test_images_elsewhere_are_linked_or_copied(elsewhere: Path) -> None:
    assert f"--images {elsewhere}: is outside data/0_raw" in refused("add-task", "owls", "--images", str(elsewhere))
    before = content(Path())
    add_task("owls", "--images", str(elsewhere), "--link", "--dry-run")
    assert content(Path()) == before and not os.path.lexists(RAW / "owls")
    add_task("owls", "--images", str(elsewhere), "--link")
    (elsewhere / "wren" / "0.png").chmod(0o400)  # as from a read-only disk
    add_task("wrens", "--images", str(elsewhere), "--copy")
    assert (RAW / "wrens" / "wren" / "0.png").stat().st_mode & 0o200
    assert (RAW / "owls").is_symlink() and (RAW / "owls").resolve() == elsewhere.resolve()
    assert not (RAW / "wrens").is_symlink() and content(RAW / "wrens") == content(elsewhere)
    assert load_config(PARAMS).tasks["owls"].path == "data/0_raw/owls"


def test_check_decodes_every_image_before_anything_is_written() -> None:
    command = ["birds", "--images", "data/0_raw/birds", "--check"]
    check = json.loads(add_task(*command, "--dry-run", "--json").stdout)["check"]
    assert (check["images"], check["broken"]) == (20, []) and ["great_tit/0.png", "3 x 2"] in check["tiny"]
    cut = picture(RAW / "birds/wren/10.png", (90, 90, 90))
    cut.write_bytes(cut.read_bytes()[:45])  # its header is whole
    before = content(Path())
    output = add_task(*command, expect=1).output
    assert "  20 images with a side below 32 pixels: " in output
    assert "error: --images data/0_raw/birds: 1 image cannot be decoded: wren/10.png (" in output
    assert content(Path()) == before
    add_task("birds", "--images", "data/0_raw/birds")  # the header alone is sound


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("task letters", "already exists (path: data/mini). Choose another name, or gift remove-task letters."),
        ("task birds --test-fraction nan", "error: --test-fraction: should be a finite number, it is nan."),
        (
            "task birds --learning-rate-factor nan",
            "error: --learning-rate-factor: should be a finite number, it is nan.",
        ),
        (
            "task birds --class-names params.yaml",
            "error: --class-names: '../../../params.yaml' is outside the task's path",
        ),
        ("task birds --table labels.csv", "data/0_raw/birds/labels.csv: no such file. Beside it: "),
        ("task birds --label-column x", "error: --label-column: unknown key."),
        ("task birds --images data/0_raw", "contains the project or all its data sets, so the data set would contain"),
        ("task birds --images data/0_raw/birds/wren", "wren/ has no sub-folders. Put images into"),
        ("task birds --images {elsewhere} --copy", "--copy: data/0_raw/birds already exists. Choose another name"),
        ("method jiont", "gift add-method: unknown name 'jiont'. Did you mean 'joint'?"),
        ("method x --from gfit", "gift add-method --from: unknown name 'gfit'. Did you mean 'gift'?"),
        ("method gift", "params.yaml: methods.gift: already exists; it runs already. Choose another name for a copy."),
        ("method joint --from ewc", "already exists; to run it as it is: gift add-method joint. Choose another"),
        ("method x --set learning_rate=fast", "methods.x.learning_rate: should be a valid number, it is 'fast'."),
        ("method x --set learning_rate=[1", "--set learning_rate=[1: should be KEY=VALUE with a value of YAML"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(words: str, expected: str, elsewhere: Path) -> None:
    kind, name, *options = words.format(elsewhere=elsewhere).split()
    if kind == "task" and "--images" not in options:
        options += ["--images", "data/0_raw/birds"]
    assert expected in refused(f"add-{kind}", name, *options)


def test_a_changed_copy_of_a_method_runs_and_goes_with_its_row(gift: Gift) -> None:
    before = PARAMS.read_bytes()
    changes = ("--set", "losses.distill.weight=2.0", "--set", "learning_rate=1e-4")
    output = add_method("strong", "--from", "gift", *changes).output
    assert "\n+      distill: {weight: 2.0, temperature: 2.0}\n" in output
    config = load_config(PARAMS)
    own, strong = config.methods["gift"], config.methods["strong"]
    changed = {"losses", "learning_rate"}
    assert (strong.losses.distill.weight, strong.learning_rate) == (2.0, 1e-4)
    assert strong.model_dump(exclude=changed) == own.model_dump(exclude=changed)
    assert config.run.methods == ("finetune", "gift", "strong")
    assert json.loads(gift("remove-method", "strong", "--json").stdout) == {"methods": ["strong"], "written": True}
    assert PARAMS.read_bytes() == before
    add_method("joint")
    assert PARAMS.read_bytes() == before.replace(b"  - gift\n", b"  - gift\n  - joint\n", 1)


def test_several_values_become_rows_named_after_them_and_a_pattern_takes_them_back(gift: Gift) -> None:
    before = PARAMS.read_text(encoding="utf-8")
    weight, no_align = ("--set", "losses.distill.weight=0.5,1,2"), ("--set", "losses.align=null")
    rows = json.loads(add_method("strength", "--from", "gift", *weight, *no_align, "--json").stdout)["rows"]
    assert {name: row["losses"]["distill"]["weight"] for name, row in rows.items()} == {
        "strength_0_5": 0.5,
        "strength_1": 1.0,
        "strength_2": 2.0,
    }
    config = load_config(PARAMS)
    assert config.run.methods == ("finetune", "gift", *rows)
    assert [config.methods[name].losses.align for name in rows] == [None] * 3
    gift("remove-method", "strength_*")
    assert PARAMS.read_text(encoding="utf-8") == before
    add_method("named", "--set", "label=Mine, strong")  # with a space, it is one value
    assert load_config(PARAMS).methods["named"].label == "Mine, strong"
    for several in (["learning_rate=1e-4,1E-4"], ["learning_rate=1e-4,1e-5", "layer_decay=0.8,0.9"]):
        words = [word for setting in several for word in ("--set", setting)]
        assert f"--set {several[0]}" in (message := refused("add-method", "x", *words))
        assert "give several values to one key only, and values that differ" in message
    assert "unknown name 'strength_*'" in refused("remove-method", "strength_*")


def test_another_order_is_written_with_its_links_and_says_what_runs_again(gift: Gift) -> None:
    before = load_config(PARAMS)
    tasks = [step.task for step in before.sequence]
    moved = [tasks[0], *tasks[:0:-1]]
    output = gift("order", *moved).output
    config = load_config(PARAMS)
    assert [(step.task, step.after) for step in config.sequence] == [*zip(moved, ("../pretrained", *moved))]  # noqa: B905
    assert f"training and tests of {', '.join(moved[1:])}.\nStays as it is: {tasks[0]}.\n" in output
    assert json.loads(gift("order", *moved, "--json").stdout)["runs_again"] == []
    assert f"missing: {moved[-1]}. Name all tasks of the sequence, such as: gift order" in refused("order", *moved[:-1])
    assert "sequence: unknown name 'nothing'. Known: " in refused("order", *moved, "nothing")
    assert f"named twice: {tasks[0]}. Name each task once." in refused("order", *moved, tasks[0])
    gift("order", *tasks)
    assert load_config(PARAMS) == before


def test_a_copy_has_no_label_of_the_method_that_it_is_a_copy_of(gift: Gift) -> None:
    text = PARAMS.read_text(encoding="utf-8").replace("  gift: ", "  gift: &gift ", 1)
    row = "  gift_merged:\n    <<: *gift\n    learning_rate: 1.0e-4\n"
    text = text.replace(
        "    consolidation: {kind: adaptive", "    label: My GIFT   # mine\n    consolidation: {kind: adaptive"
    )
    PARAMS.write_text(text.replace("\n\n# The order in", f"\n{row}\n# The order in"), encoding="utf-8")
    assert load_config(PARAMS).methods["gift_merged"].label == "My GIFT"
    for base in ("gift", "gift_merged"):
        added = add_method(f"{base}_copy", "--from", base).output
        assert "label:" not in added and load_config(PARAMS).methods[f"{base}_copy"].label is None
    add_method("named", "--from", "gift", "--set", "label=Another")
    assert load_config(PARAMS).methods["named"].label == "Another"


def test_a_method_of_the_catalogue_comes_with_the_numbers_of_the_experiment(mini_params: Any) -> None:
    """Those of the miniature, and what counts iterations for the 200 of mini; at full size those of the paper."""
    add_method("zscl")
    row = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["methods"]["zscl"]
    assert row == mini_params["methods"]["zscl"]
    assert (row["learning_rate"], row["average"]["every"]) == (5e-4, 20)
    assert "  zscl:                      # ZSCL: the pre-trained model as" in PARAMS.read_text("utf-8")
    PARAMS.write_text(complete_text(ROOT / "presets" / "bring_your_own.yaml"), encoding="utf-8")
    add_method("zscl", "--set", "layer_decay=0.9")
    config = load_config(PARAMS)
    assert config.methods["zscl"].learning_rate == 1e-5 and config.methods["zscl"].average.every == 100
    assert config.run.methods == ("finetune", "gift", "gift_vocabulary_released", "zscl")
    assert add_method("mine", "--from", "icarl").output.startswith("mine: a copy of icarl\n")


def test_a_project_may_have_a_catalogue_of_its_own_and_a_damaged_one_is_named(gift: Gift) -> None:
    row = "mine:\n  about: Our best.\n  learning_rate: 1.0e-3\n  replay: {images: none}\n  losses: {}\n"
    catalogue = Path("presets/methods.yaml")
    catalogue.parent.mkdir()
    catalogue.write_text(f"{row}  consolidation: {{kind: none}}\n\n# ours\n", encoding="utf-8")
    lines = gift("methods").output.splitlines()
    assert "gift *      Your own: only params.yaml has it." in lines and "mine        Our best." in lines
    add_method("mine")
    listed = {each["method"]: each for each in json.loads(gift("methods", "--json").output)}
    assert listed["mine"] == {"method": "mine", "about": "Our best.", "runs": True, "in_params": True}
    assert not listed["joint"]["runs"]
    for damaged in ("mine: 3\n", "mine: [\n"):
        catalogue.write_text(damaged, encoding="utf-8")
        assert "presets/methods.yaml: it should have `about` and the row of each" in gift("methods", expect=1).stderr


def test_an_added_task_is_taken_back_and_its_images_stay(gift: Gift, elsewhere: Path) -> None:
    before = PARAMS.read_bytes()
    PARAMS.rename("own.yaml")
    PARAMS.symlink_to("own.yaml")
    add_task("owls", "--images", str(elsewhere), "--link")
    output = gift("remove-task", "owls").output
    assert PARAMS.is_symlink() and PARAMS.read_bytes() == before
    assert "\n-  owls:\n" in output and "earlier step" not in output
    assert (RAW / "owls").is_symlink()
    add_task("owls", "--images", str(elsewhere), "--link")  # the link is still right


def test_the_tasks_after_a_removed_one_that_were_learned_are_learned_again(gift: Gift) -> None:
    assert [step.task for step in load_config(PARAMS).sequence][2:] == ["zodiac", "digits", "greek", "arrows"]
    assert json.loads(gift("remove-task", "zodiac", "--dry-run", "--json").stdout)["learned_again"] == []  # none ran
    for task in ("zodiac", "digits", "greek"):
        Path("data/5_models/gift", task).mkdir(parents=True)
    document = json.loads(gift("remove-task", "zodiac", "--json").stdout)
    assert document == {"tasks": ["zodiac"], "learned_again": ["digits", "greek"], "written": True}
    assert "Learned again, at an earlier step than before: greek\n" in gift("remove-task", "digits").output


def test_a_dry_run_and_an_unknown_name_write_nothing(gift: Gift) -> None:
    before = content(Path())
    for command, name, unknown in (("remove-task", "digits", "digit"), ("remove-method", "gift", "gfit")):
        gift(command, name, "--dry-run")
        assert json.loads(gift(command, name, "--dry-run", "--json").stdout)["written"] is False
        assert f"unknown name '{unknown}'. Did you mean '{name}'?" in refused(command, unknown)
    assert content(Path()) == before


def test_without_a_task_each_command_says_how_to_add_one(gift: Gift) -> None:
    PARAMS.write_text(complete_text(ROOT / "presets" / "bring_your_own.yaml"), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    assert NO_TASK in gift("data", "status").output
    for words in ("check", "run", "show", "doctor --quick", "release gift --choose"):
        assert NO_TASK in gift(*words.split(), expect=1).output


def test_dvc_watches_a_file_as_long_as_a_method_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(first_params(), encoding="utf-8")
    before = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text(before, encoding="utf-8")
    printed = add_method("near", "--from", "gift", "--loss", "mine/losses.py:near").output
    assert "mine/losses.py: new, an example to change" in printed
    assert "\ndef near(" in (tmp_path / "mine" / "losses.py").read_text(encoding="utf-8")
    expected = before.replace("      - data/mini\n    outs:", "      - data/mini\n      - mine/losses.py\n    outs:", 1)
    assert (tmp_path / "dvc.yaml").read_text(encoding="utf-8") == expected
    experiment.gift("remove-method", "near")
    assert (tmp_path / "dvc.yaml").read_text(encoding="utf-8") == before
