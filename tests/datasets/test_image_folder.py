"""Folders of images as tasks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from gift_core.artifacts.task import iterate_task, read_task
from gift_core.config.experiment import IngestConfig
from gift_core.errors import UserError
from tests.artifacts.damage import tree_hash
from tests.datasets.folders import birds, colors, flat_birds, ingest_birds, picture, refusal


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


def test_a_flat_folder_is_split_by_the_fraction_and_the_seed_in_each_class_whatever_the_others_are(
    tmp_path: Path,
) -> None:
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
    assert [pixel for pixel, label in colors(tmp_path / "task", "test") if label == 0] == [
        pixel for pixel, _ in test[:3]
    ]


def test_a_small_class_still_has_an_image_in_each_split(tmp_path: Path) -> None:
    flat_birds(tmp_path, count=2)
    assert ingest_birds(tmp_path, test_fraction=0.01).counts == {"train": 2, "test": 2}
    assert ingest_birds(tmp_path, test_fraction=0.99).counts == {"train": 2, "test": 2}


@pytest.mark.parametrize(
    "folders", [("Eurasian_Wren", "black-necked__grebe"), ("1", "10", "2")]
)  # in the order of texts
def test_classes_are_named_after_their_folders(folders: tuple[str, ...], tmp_path: Path) -> None:
    for name in folders:
        picture(tmp_path / "birds" / name / "1.png")
        picture(tmp_path / "birds" / name / "2.png")
    assert ingest_birds(tmp_path).class_names == tuple(" ".join(name.replace("_", " ").split()) for name in folders)


def test_bad_images_are_counted_and_five_are_named(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    for number in range(7):
        (folder / "train" / "wren" / f"bad{number}.png").write_bytes(b"no image")
    message = refusal(tmp_path)
    assert "7 images cannot be decoded: train/wren/bad0.png (not an image), train/wren/bad1.png" in message
    assert "bad4.png (not an image) and 2 more. Repair or remove them, or set on_bad_image: skip." in message


def test_bad_images_can_be_skipped_and_are_recorded(tmp_path: Path) -> None:
    for name in ("train/wren/bad.png", "test/great_tit/bad.png"):
        (birds(tmp_path) / name).write_bytes(b"no image")
    info = ingest_birds(tmp_path, on_bad_image="skip")
    assert info.counts == {"train": 6, "test": 4}
    assert info.skipped == (("train/wren/bad.png", "not an image"), ("test/great_tit/bad.png", "not an image"))
    assert read_task(tmp_path / "task").skipped == info.skipped


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("train/wren", "no training image of class 'wren' can be decoded"),
        ("test", "no test image can be decoded"),
    ],
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
        "1 class has no test images: heron.",
        "1 file left out: 1 .txt (test/owl/notes.txt).",
    )


@pytest.mark.parametrize("class_names", ["names.txt", {"wren": "Zaunkönig", "great_tit": "Kohlmeise"}])
def test_a_file_in_the_folder_or_a_mapping_names_the_classes(class_names: object, tmp_path: Path) -> None:
    (birds(tmp_path) / "names.txt").write_text("Kohlmeise\nZaunkönig\n", encoding="utf-8")
    assert ingest_birds(tmp_path, class_names=class_names).class_names == ("Kohlmeise", "Zaunkönig")


def test_a_full_disk_is_noticed_first_by_the_size_of_the_shrunk_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.effect_noise((900, 900), 100).convert("RGB").save(birds(tmp_path) / "train" / "wren" / "9.png")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(UserError, match=r"^ingest birds: \d\.\d MB are needed .* but only 1\.0 MB are free"):
        ingest_birds(tmp_path)
    assert not (tmp_path / "task").exists()
    ingest_birds(tmp_path, ingest_config=IngestConfig(images_per_shard=4, image_format="png", shorter_side=32))
