"""Labeled folders, and accuracies with their intervals and confusions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scipy.stats import binomtest

from gift_core.class_lists import Classes
from gift_core.errors import UserError
from gift_core.labeled_images import open_labeled_folder, score
from gift_core.report.accuracies import Score

TEMPLATES = ("a {}.",)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_the_class_of_an_image_is_the_name_of_its_folder(tmp_path: Path) -> None:
    found = open_labeled_folder(touch(tmp_path, "red_fox/b/1.png", "red_fox/a.JPG", "wren/2.png", "x.png"), TEMPLATES)
    assert [(path.name, name) for path, name in found.label_of.items()] == [
        ("a.JPG", "red fox"), ("1.png", "red fox"), ("2.png", "wren"),
    ]  # fmt: skip
    assert found.classes == Classes(("red fox", "wren"), TEMPLATES)
    assert found.notes == ("1 file left out: 1 in no class folder (x.png).",)


def test_only_the_test_split_of_a_folder_with_splits_is_taken_and_a_class_may_have_its_name(tmp_path: Path) -> None:
    found = open_labeled_folder(touch(tmp_path / "one", "train/0.png", "boat/0.png"), TEMPLATES)
    assert found.classes.names == ("boat", "train")
    names = [f"{split}/{name}/{split}.png" for split in ("train", "Test", "val") for name in ("fox", "wren")]
    found = open_labeled_folder(touch(tmp_path / "two", *names), TEMPLATES)
    assert [path.name for path in found.label_of] == ["Test.png", "Test.png"]
    assert found.classes.names == ("fox", "wren")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Train", "VAL"), "Train/ and VAL/ look like splits, not like classes. Name the folder of the images to"),
        (("train", "test", "Testing"), "Testing/ and test/ are both names of the test split. Merge them, or name one"),
    ],
)
def test_splits_without_one_for_testing_are_refused(names: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    files = [f"{split}/{name}/0.png" for split in names for name in ("fox", "wren")]
    with pytest.raises(UserError, match=re.escape(expected)):
        open_labeled_folder(touch(tmp_path, *files), TEMPLATES)


def test_a_folder_without_two_classes_is_refused_with_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"at least two classes. 1 file left out: 1 .txt \(wren/n.txt\). Put them into"):
        open_labeled_folder(touch(tmp_path, "fox/1.png", "wren/n.txt"), TEMPLATES)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        open_labeled_folder(tmp_path / "nowhere", TEMPLATES)


def test_accuracies_of_all_images_and_of_each_class_and_the_confusions() -> None:
    pairs = [("a", "a")] * 3 + [("a", "b")] + [("b", "a")] * 2 + [("b", "b")] * 4
    result = score((*pair, 0.5) for pair in pairs)
    assert (result.total, result.by_class) == (Score(7, 10), {"a": Score(3, 4), "b": Score(4, 6)})
    assert result.confusions == (("b", "a", 2), ("a", "b", 1))
    assert result.total.percent == 70
    falling = score(("a", "a", (100 - number) / 1000 - 1e-5) for number in range(100))
    assert falling.threshold == 0.005  # 95 of 100 images have 0.00599 or more
    with pytest.raises(UserError, match="None of the images can be read"):
        score([])


@pytest.mark.parametrize(("correct", "count"), [(7, 10), (0, 12), (12, 12)])
def test_the_interval_is_the_one_of_wilson(correct: int, count: int) -> None:
    expected = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    assert Score(correct, count).interval == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-2)
