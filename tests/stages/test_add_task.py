"""`gift add-task`, as a person types it."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from gift_core.config.loading import load_config
from tests.artifacts.damage import tree_hash
from tests.datasets.folders import birds, flat_birds, picture
from tests.stages.experiment import Gift


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The project, and birds in data/0_raw: 10 images of each of two classes."""
    flat_birds(tmp_path / "data" / "0_raw")
    return tmp_path


@pytest.fixture
def add(gift: Gift, root: Path) -> Gift:
    return partial(gift, "add-task")


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flat_birds(tmp_path_factory.mktemp("elsewhere"))


def refused(add: Gift, *arguments: str) -> str:
    """The message of a call that must fail and leave everything as it was."""
    before = tree_hash(Path())
    message = add(*arguments, expect=1).output
    assert tree_hash(Path()) == before
    assert message.startswith("error: ")
    return message


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_a_folder_becomes_the_last_task(root: Path, add: Gift) -> None:
    (root / "data/0_raw/birds/notes.txt").touch()
    output = add("birds", "--images", "data/0_raw/birds").output
    assert "birds: 2 classes, 16 training images, 4 test images" in output
    assert "  great tit      8     2" in output
    assert "  1 file left out: notes.txt." in output
    assert "+  birds:" in output
    assert "params.yaml has the new task. Next: dvc repro" in output
    assert "To take it back: gift remove-task birds" in output
    config = load_config(root / "params.yaml")
    assert config.tasks["birds"].model_dump(exclude_unset=True) == {
        "source": "folder", "path": "data/0_raw/birds", "templates": ("a photo of a {}.",), "test_fraction": 0.2,
        "on_bad_image": "refuse",
    }  # fmt: skip
    assert config.sequence[-1].model_dump() == {"task": "birds", "after": "arrows", "learning_rate_factor": 1.0}


def test_a_probe_has_no_step_and_goes_as_it_came_also_where_it_is_the_only_one(
    root: Path, add: Gift, gift: Gift
) -> None:
    command = ("birds", "--images", "data/0_raw/birds", "--probe", "--check")
    assert (
        "--learning-rate-factor is of a task that is learned"
        in add(*command, "--learning-rate-factor", "2", expect=2).output
    )
    gift("remove-task", "cyrillic", "games")
    params = root / "params.yaml"
    before = params.read_text(encoding="utf-8")
    assert "  probes: []    " in before
    output = add(*command).output
    assert "birds: 2 classes, 2 training images, 18 test images" in output
    learned = [step.task for step in load_config(params).sequence]
    assert load_config(params).evaluation.probes == ("birds",) and "birds" not in learned
    gift("remove-task", "birds")
    assert params.read_text(encoding="utf-8") == before
    gift("remove-task", *learned)
    assert "There is no task to learn yet: gift add-task NAME" in add(*command).output


def test_every_option_of_a_folder_is_written(root: Path, add: Gift) -> None:
    (root / "data/0_raw/birds/names.txt").write_text("Kohlmeise\nZaunkönig\n", encoding="utf-8")
    output = add(
        "birds", "--images", "data/0_raw/birds", "--template", "a {}.", "--template", "two {}.",
        "--test-fraction", "0.5", "--on-bad-image", "skip", "--on-duplicate", "skip", "--class-names", "names.txt",
        "--shots", "3", "--learning-rate-factor", "0.5",
    ).output  # fmt: skip
    assert "birds: 2 classes, 6 training images, 10 test images" in output
    assert "  Zaunkönig      3     5" in output
    config = load_config(root / "params.yaml")
    assert config.tasks["birds"].model_dump() == {
        "source": "folder", "path": "data/0_raw/birds", "templates": ("a {}.", "two {}."), "test_fraction": 0.5,
        "on_duplicate": "skip", "on_bad_image": "skip", "class_names": "names.txt", "shots": 3,
    }  # fmt: skip
    assert config.sequence[-1].learning_rate_factor == 0.5


def test_a_data_set_with_a_test_split_gets_no_test_fraction_and_its_copies_are_left_out_on_request(
    root: Path, add: Gift
) -> None:
    folder = birds(root / "data/0_raw/split")
    picture(folder / "train/wren/copy.png", (1, 0, 5))
    picture(folder / "test/wren/again.png", (1, 1, 5))
    command = ["birds", "--images", str(folder.relative_to(root)), "--on-duplicate"]
    message = refused(add, *command, "keep", "--test-fraction", "0.3")
    assert message == "error: --test-fraction 0.3: the data set has a test split of its own. Leave it out.\n"
    assert "2 classes, 7 training images, 5 test images" in add(*command, "keep", "--dry-run").output
    output = add(*command, "skip").output
    assert "2 classes, 6 training images, 4 test images" in output and "test_fraction" not in output
    copies = "train/wren/copy.png (train/wren/0.png), test/wren/again.png (train/wren/1.png)"
    assert f"  2 images left out, as on_duplicate: skip says: {copies}.\n" in output
    assert "test_fraction" not in load_config(root / "params.yaml").tasks["birds"].model_fields_set


def test_images_elsewhere_are_linked_or_copied(root: Path, add: Gift, elsewhere: Path) -> None:
    message = refused(add, "owls", "--images", str(elsewhere))
    assert f"--images {elsewhere}: is outside data/0_raw" in message
    assert "Add --link (a link in data/0_raw, nothing is copied) or --copy." in message
    raw, before = root / "data/0_raw", tree_hash(root)
    dry = add("owls", "--images", str(elsewhere), "--link", "--dry-run").output
    assert "--dry-run: nothing was written" in dry
    assert tree_hash(root) == before and not os.path.lexists(raw / "owls")
    add("owls", "--images", str(elsewhere), "--link")
    (elsewhere / "wren" / "0.png").chmod(0o400)  # as from a read-only disk
    add("wrens", "--images", str(elsewhere), "--copy")
    assert (raw / "wrens" / "wren" / "0.png").stat().st_mode & 0o200
    assert (raw / "owls").is_symlink() and (raw / "owls").resolve() == elsewhere.resolve()
    assert not (raw / "wrens").is_symlink() and files(raw / "wrens") == files(elsewhere)
    assert load_config(root / "params.yaml").tasks["owls"].path == "data/0_raw/owls"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("letters", "already exists (path: data/mini). Choose another name, or gift remove-task letters."),
        ("birds --test-fraction nan", "tasks.birds.test_fraction: should be a finite number, it is nan."),
        ("birds --learning-rate-factor nan", "learning_rate_factor: should be a finite number, it is nan."),
        ("birds --class-names params.yaml", "class_names: '../../../params.yaml' is outside the task's path"),
        ("birds --table labels.csv", "data/0_raw/birds/labels.csv: no such file. Beside it: "),
        ("birds --label-column x", "tasks.birds.label_column: unknown key."),
        ("birds --images data/0_raw", "contains the project or all its data sets, so the data set would contain itse"),
        ("birds --images data/0_raw/birds/wren", "wren/ has no sub-folders. Put images into"),
        ("birds --images {elsewhere} --copy", "--copy: data/0_raw/birds already exists. Choose another name"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(words: str, expected: str, add: Gift, elsewhere: Path) -> None:
    name, *options = words.format(elsewhere=elsewhere).split()
    if "--images" not in options:
        options += ["--images", "data/0_raw/birds"]
    assert expected in refused(add, name, *options)


def test_check_decodes_every_image_before_anything_is_written(root: Path, add: Gift) -> None:
    command = ["birds", "--images", "data/0_raw/birds", "--check"]
    check = json.loads(add(*command, "--dry-run", "--json").stdout)["check"]
    assert (check["images"], check["broken"]) == (20, []) and ["great_tit/0.png", "3 x 2"] in check["tiny"]
    cut = picture(root / "data/0_raw/birds/wren/10.png", (90, 90, 90))
    cut.write_bytes(cut.read_bytes()[:45])  # its header is whole
    before = tree_hash(root)
    output = add(*command, expect=1).output
    assert "  20 images with a side below 32 pixels: " in output
    assert "error: --images data/0_raw/birds: 1 image cannot be decoded: wren/10.png (" in output
    assert tree_hash(root) == before
    add("birds", "--images", "data/0_raw/birds")  # the header alone is sound
