"""Folders and tables of images as people have them: read right, refused, or what is left out is counted in a note."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.task import iterate_task, read_task
from gift_core.config.experiment import IngestConfig
from gift_core.datasets.ingest import validation_images
from tests.artifacts.damage import tree_hash
from tests.datasets.folders import INGEST, birds, colors, config, flat_birds, ingest_birds, open_birds, picture, refusal


def test_folders_named_train_and_test_are_the_splits(tmp_path: Path) -> None:
    picture(birds(tmp_path) / "train" / "wren" / "deeper" / "may" / "7.BMP", (1, 3, 5))
    jpg = IngestConfig(images_per_shard=100, image_format="jpg", shorter_side=None)
    ingest_birds(tmp_path, ingest_config=jpg)
    assert list(iterate_task(tmp_path / "task", "train"))[-1][0].startswith(b"\xff\xd8\xff")
    info = ingest_birds(tmp_path)
    assert info.class_names == ("great tit", "wren")
    assert info.templates == ("a photo of a {}, a bird.",)
    assert (info.source, info.counts, info.notes) == ("folder", {"train": 7, "test": 4}, ())
    train = [((label, number, 5), label) for label in (0, 1) for number in (0, 1, 2)]
    assert colors(tmp_path / "task", "train") == [*train, ((1, 3, 5), 1)]
    assert read_task(tmp_path / "task") == info


def test_a_flat_folder_is_split_by_fraction_and_seed_in_each_class_alone(tmp_path: Path) -> None:
    """Of a small class, too, each split has an image."""
    flat_birds(tmp_path, count=2)
    for fraction in (0.01, 0.99):
        assert ingest_birds(tmp_path, test_fraction=fraction).counts == {"train": 2, "test": 2}
    flat_birds(tmp_path)
    assert ingest_birds(tmp_path, test_fraction=0.3).counts == {"train": 14, "test": 6}
    train, test = (colors(tmp_path / "task", split) for split in ("train", "test"))
    assert [label for _, label in test] == [0, 0, 0, 1, 1, 1]
    assert sorted([*train, *test]) == [((label, number, 0), label) for label in (0, 1) for number in range(10)]
    first = tree_hash(tmp_path / "task")
    ingest_birds(tmp_path, test_fraction=0.3)
    assert tree_hash(tmp_path / "task") == first
    ingest_birds(tmp_path, test_fraction=0.3, seed=43)
    assert tree_hash(tmp_path / "task") != first
    for number in range(10):
        picture(tmp_path / "birds" / "heron" / f"{number}.png")
    ingest_birds(tmp_path, test_fraction=0.3)
    assert [each for each in colors(tmp_path / "task", "test") if each[1] == 0] == test[:3]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [("train/wren", "no training image of class 'wren' can be decoded"), ("test", "no test image can be decoded")],
)
def test_a_class_or_a_split_of_bad_images_only_cannot_be_skipped(bad: str, expected: str, tmp_path: Path) -> None:
    for path in (birds(tmp_path) / bad).rglob("*.png"):
        path.write_bytes(b"no image")
    assert expected in refusal(tmp_path, on_bad_image="skip")


def test_a_class_that_only_train_has_is_learned_and_one_that_is_empty_left_out(tmp_path: Path) -> None:
    picture(birds(tmp_path) / "train" / "heron" / "0.png")
    (tmp_path / "birds" / "test" / "heron").mkdir()
    for split in ("train", "test"):
        (tmp_path / "birds" / split / "owl" / "deeper").mkdir(parents=True)
    (tmp_path / "birds" / "test" / "owl" / "notes.txt").touch()
    info = ingest_birds(tmp_path)
    assert info.class_names == ("great tit", "heron", "wren")
    assert [label for _, label in iterate_task(tmp_path / "task", "test")] == [0, 0, 2, 2]
    assert info.notes == (
        "3 class folders without images left out: train/owl/, test/heron/, test/owl/.",
        "1 file left out: test/owl/notes.txt.",
        "1 class has no test images: heron.",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return birds(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "validation"), [("TRAIN", "TEST", "Valid"), ("Training", "test", "validation")]
)
def test_splits_may_have_any_usual_spelling_and_a_validation_split_is_in_neither(
    train: str, test: str, validation: str, folder: Path, tmp_path: Path
) -> None:
    before = ingest_birds(tmp_path)
    shutil.copytree(folder / "test", folder / validation)
    picture(folder / validation / "owl" / "0.png")  # which is no class
    (folder / "train").rename(folder / train)
    (folder / "test").rename(folder / test)
    after = ingest_birds(tmp_path)
    assert (after.class_names, after.counts) == (("great tit", "wren"), {"train": 6, "test": 4})
    assert after.hashes == before.hashes
    assert after.notes == (f"5 images left out: {validation}/ is a validation split.",)
    held_out = validation_images("birds", config(), stored=INGEST, seed=42, root=tmp_path)
    assert held_out is not None and [label for _, _, label in held_out] == [0, 0, 1, 1]


def only_loose_images(folder: Path) -> None:
    for image in folder.rglob("*.png"):
        image.unlink()
    picture(folder / "loose.png")


@pytest.mark.parametrize(
    ("make", "change", "expected"),
    [
        (flat_birds, shutil.rmtree, "there is no such folder. Put the images there"),
        (flat_birds, only_loose_images, "the sub-folders of birds/ have no images. Put images into one folder"),
        (flat_birds, lambda folder: shutil.rmtree(folder / "wren"), "there is only ['great_tit']"),
        (flat_birds, lambda folder: picture(folder / "heron/0.png"), "class 'heron' has only one image, "),
        (flat_birds, lambda folder: shutil.copytree(folder / "great_tit", folder / "great tit"),
         "CLIP cannot tell apart the class names ['great tit', 'great tit'] of great tit, great_tit. Rename, or"),
        (flat_birds, lambda folder: [picture(folder / "wren" / name / "0.png") for name in ("train", "test")],
         "wren/ has folders of splits"),
        (flat_birds, lambda folder: (folder / "wren").rename(folder / "\x1b[31mred"),
         "x1b[31mred' has control characters"),
        (birds, lambda folder: shutil.rmtree(folder / "test"), "test/ is missing next to the other split"),
        (birds, lambda folder: picture(folder / "test/heron/0.png"), "class 'heron' is in the test split but not in "),
        (birds, lambda folder: shutil.copytree(folder / "train", folder / "Training"),
         "Training/ and train/ are both names of the train split. Merge them"),
        (birds, lambda folder: picture(folder / "heron" / "0.png"),
         "heron/ has 1 image, but it is beside test/ and train/"),
        (birds, lambda folder: (folder / "train" / "wren" / "9.png").symlink_to("/nowhere/9.png"),
         "train/wren/9.png is a link to /nowhere/9.png, which does not exist. Bring the file there"),
        (birds, lambda folder: (folder / "train" / "wren" / "up").symlink_to(folder / "train" / "wren"),
         "train/wren/ and train/wren/up/ are the same folder, because one is a link"),
        (birds, lambda folder: picture(folder / "train" / "wren" / "\udcff.png"),
         "train/wren/\\udcff.png is not UTF-8, so it would not be found on other machines"),
    ],
)  # fmt: skip
def test_a_confusing_folder_is_refused(
    make: Callable[[Path], Path], change: Callable[[Path], object], expected: str, tmp_path: Path
) -> None:
    change(make(tmp_path))
    assert expected in refusal(tmp_path)


def test_other_kinds_of_files_are_counted_and_named(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "wren" / "notes.txt").write_text("no image")
    (folder / "README").touch()
    picture(folder / "test" / ".cache" / "a.png")
    (folder / "train" / "Thumbs.db").touch()
    picture(folder / "loose.png")
    picture(folder / "train" / "loose.jpg").rename(folder / "train" / "wren" / "0")
    picture(folder / "train" / "loose.jpg")
    assert ingest_birds(tmp_path).notes == (
        "7 files left out: README, loose.png, train/loose.jpg, train/wren/0, train/wren/notes.txt, 2 hidden.",
    )


def test_links_are_read_and_those_to_folders_are_told(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "wren" / "8.png").symlink_to(picture(tmp_path / "elsewhere.png", (97, 0, 0)))
    picture(tmp_path / "more" / "7.png", (99, 0, 0))
    picture(tmp_path / "heron" / "0.png", (98, 0, 0))
    (folder / "train" / "wren" / "more").symlink_to(tmp_path / "more", target_is_directory=True)
    (folder / "train" / "heron").symlink_to(tmp_path / "heron", target_is_directory=True)
    info = ingest_birds(tmp_path)
    assert (info.counts["train"], info.class_names) == (9, ("great tit", "heron", "wren"))
    expected = "DVC sees no changes behind links to folders inside a data set: train/heron/, train/wren/more/."
    assert expected in info.notes


def test_a_class_is_one_class_in_both_unicode_forms(folder: Path, tmp_path: Path) -> None:
    """macOS writes the names of files decomposed."""
    for split, form in (("train", "NFC"), ("test", "NFD")):
        (folder / split / "wren").rename(folder / split / unicodedata.normalize(form, "Zaunkönig"))
    picture(folder / "train" / unicodedata.normalize("NFD", "Zaunkönig") / "0.png")
    info = ingest_birds(tmp_path)
    assert info.class_names == (unicodedata.normalize("NFC", "Zaunkönig"), "great tit")
    assert info.counts == {"train": 7, "test": 4}


def test_images_in_both_splits_and_in_two_classes_are_told(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "train" / "wren" / "0.png", folder / "test" / "wren" / "copy.png")
    shutil.copy(folder / "train" / "wren" / "1.png", folder / "train" / "great_tit" / "other.png")
    info = ingest_birds(tmp_path)
    assert info.notes == (
        "1 image of the test split is also in the training split: test/wren/copy.png.",
        "1 image has two classes: train/wren/1.png.",
    )
    assert read_task(tmp_path / "task").notes == info.notes


FOLD = "image,label,fold"


def write_table(root: Path, lines: list[str]) -> None:
    """birds/labels.csv, and birds/a/{0..4}.png, each image in a different color."""
    for number in range(5):
        picture(root / "birds" / "a" / f"{number}.png", (number, 0, 0))
    (root / "birds" / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_split_column_assigns_rows_to_splits(tmp_path: Path) -> None:
    """A validation row needs neither a label nor a file."""
    rows = "a/0.png,wren,train a/1.png,heron,Training a/2.png,wren,testing gone.png,,VALID ,,validation"
    write_table(tmp_path, [FOLD, *rows.split(), "a/4.png,wren,val "])
    info = ingest_birds(tmp_path, "table", split_column="fold")
    assert info.class_names == ("heron", "wren")
    assert colors(tmp_path / "task", "train") == [((0, 0, 0), 1), ((1, 0, 0), 0)]
    assert colors(tmp_path / "task", "test") == [((2, 0, 0), 1)]
    assert info.notes == (
        "3 images left out: val in column 'fold' is a validation split.",
        "1 image of the folder is in no row: a/3.png.",
        "1 class has no test images: heron.",
    )
    (held_out,) = open_birds(tmp_path, "table", split_column="fold").validation
    assert (held_out.name, held_out.label) == ("a/4.png", "wren")


@pytest.mark.parametrize(
    ("lines", "changes", "expected"),
    [
        (["a/0.png,wren", "a/1.pgn,heron"], {}, "line 3: there is no image file a/1.pgn. Did you mean 'a/1.png'?"),
        (["c.png,wren", "d.png,heron"], {}, "Also missing: d.png (line 3). Correct the table"),
        (["a/0.png,wren", "../x.png,heron"], {}, "line 3 of labels.csv: ../x.png is outside birds"),
        (["a/0.png,wren", "a/1.png,heron", "./a/0.png,heron"], {}, "a/0.png is on line 2 and on line 4. Remove"),
        (["a/0.png,wren"], {"table": "lables.csv"}, "lables.csv: no such file. Beside it: labels.csv, a."),
        ([FOLD, "a/0.png,wren,train", "a/1.png,heron,trian"], {"split_column": "fold"},
         "split_column: fold: line 3 of labels.csv: unknown split 'trian'. Did you"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(lines: list[str], changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    write_table(tmp_path, lines if FOLD in lines else ["image,label", *lines])
    assert expected in refusal(tmp_path, "table", **changes)


def test_faults_of_different_kinds_in_a_table_are_told_together(tmp_path: Path) -> None:
    rows = [FOLD, "b.png,wren,train", "a/0.png,,train", "a/1.png,heron,trian", "a/2.png,wren,test", "a/2.png,wren,test"]
    write_table(tmp_path, rows)
    lines = refusal(tmp_path, "table", split_column="fold").splitlines()
    kinds = (
        "no image file b.png",
        "line 3, column label: is empty",
        "unknown split 'trian'",
        "on line 5 and on line 6",
    )
    assert [kind in line for kind, line in zip(kinds, lines, strict=True)] == [True] * 4
    write_table(tmp_path, [*rows, *rows[-1:] * 9])
    assert refusal(tmp_path, "table", split_column="fold").endswith("\n... and 8 more.")
