"""Folders of images as tasks."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gift_core.artifacts.task import iterate_task, read_task
from gift_core.config.experiment import IngestConfig
from gift_core.errors import UserError
from tests.artifacts.damage import tree_hash
from tests.datasets.folders import birds, colors, flat_birds, ingest_birds, picture


def refusal(root: Path, **changes: object) -> str:
    """The message that ingestion is refused with; nothing may be left of it."""
    with pytest.raises(UserError) as caught:
        ingest_birds(root, **changes)  # type: ignore[arg-type]
    assert not (root / "task").exists()
    assert not list(root.glob(".task*"))
    assert str(caught.value).startswith("params.yaml: tasks.birds.path: birds"), str(caught.value)
    return str(caught.value)


def test_folders_named_train_and_test_are_the_splits(tmp_path: Path) -> None:
    birds(tmp_path)
    info = ingest_birds(tmp_path)
    assert info.class_names == ("great tit", "wren")
    assert info.templates == ("a photo of a {}, a bird.",)
    assert info.source == "folder"
    assert info.counts == {"train": 6, "test": 4}
    train = [((label, number, 5), label) for label in (0, 1) for number in (0, 1, 2)]
    assert colors(tmp_path / "task", "train") == train
    assert read_task(tmp_path / "task") == info


def test_a_flat_folder_is_split_by_the_fraction_in_each_class(tmp_path: Path) -> None:
    flat_birds(tmp_path)
    info = ingest_birds(tmp_path, test_fraction=0.3)
    assert info.counts == {"train": 14, "test": 6}
    train, test = (colors(tmp_path / "task", split) for split in ("train", "test"))
    assert [label for _, label in test] == [0, 0, 0, 1, 1, 1]
    assert sorted([*train, *test]) == [((label, number, 0), label) for label in (0, 1) for number in range(10)]


def test_the_split_depends_on_the_seed_only(tmp_path: Path) -> None:
    flat_birds(tmp_path)
    ingest_birds(tmp_path)
    first = tree_hash(tmp_path / "task")
    ingest_birds(tmp_path)
    assert tree_hash(tmp_path / "task") == first
    ingest_birds(tmp_path, seed=43)
    assert tree_hash(tmp_path / "task") != first


def test_another_class_does_not_move_the_split_of_this_one(tmp_path: Path) -> None:
    flat_birds(tmp_path)
    ingest_birds(tmp_path)
    before = [color for color, label in colors(tmp_path / "task", "test") if label == 0]
    for number in range(10):
        picture(tmp_path / "birds" / "heron" / f"{number}.png")
    ingest_birds(tmp_path)
    assert [color for color, label in colors(tmp_path / "task", "test") if label == 0] == before


def test_a_small_class_still_has_an_image_in_each_split(tmp_path: Path) -> None:
    flat_birds(tmp_path, count=2)
    assert ingest_birds(tmp_path, test_fraction=0.01).counts == {"train": 2, "test": 2}
    assert ingest_birds(tmp_path, test_fraction=0.99).counts == {"train": 2, "test": 2}


def test_underscores_of_a_folder_are_spaces_and_hyphens_stay(tmp_path: Path) -> None:
    for name in ("black-necked__grebe", "Eurasian_Wren"):
        picture(tmp_path / "birds" / name / "1.png")
        picture(tmp_path / "birds" / name / "2.png")
    assert ingest_birds(tmp_path).class_names == ("Eurasian Wren", "black-necked grebe")


def test_hidden_files_and_other_kinds_are_ignored(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    (folder / "train" / "wren" / "notes.txt").write_text("no image")
    (folder / "train" / "wren" / "._0.png").write_text("what macOS leaves")
    (folder / "train" / ".cache").mkdir()
    (folder / "readme.md").touch()
    assert ingest_birds(tmp_path).counts == {"train": 6, "test": 4}


def test_images_may_be_in_deeper_folders_of_their_class(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    picture(folder / "train" / "wren" / "2024" / "may" / "7.JPG")
    assert ingest_birds(tmp_path).counts["train"] == 7


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "avif"])
def test_every_usual_format_is_read(suffix: str, tmp_path: Path) -> None:
    folder = birds(tmp_path)
    picture(folder / "train" / "wren" / f"9.{suffix}", (200, 100, 50))
    ingest_birds(tmp_path)
    pixel, label = colors(tmp_path / "task", "train")[-1]
    assert label == 1
    np.testing.assert_allclose(pixel, (200, 100, 50), atol=8)  # JPEG and WebP lose a little


def test_a_plain_jpeg_keeps_its_bytes(tmp_path: Path) -> None:
    path = picture(birds(tmp_path) / "train" / "wren" / "9.jpg")
    ingest_birds(tmp_path)
    assert list(iterate_task(tmp_path / "task", "train"))[-1] == (path.read_bytes(), 1)


def test_images_can_be_stored_as_jpeg(tmp_path: Path) -> None:
    picture(birds(tmp_path) / "train" / "wren" / "9.bmp")
    ingest_birds(tmp_path, ingest_config=IngestConfig(images_per_shard=100, image_format="jpg", shorter_side=None))
    image, _ = list(iterate_task(tmp_path / "task", "train"))[-1]
    assert image.startswith(b"\xff\xd8\xff")


def test_bad_images_are_counted_and_five_are_named(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    for number in range(7):
        (folder / "train" / "wren" / f"bad{number}.png").write_bytes(b"no image")
    message = refusal(tmp_path)
    assert "7 images cannot be decoded: train/wren/bad0.png (not an image), train/wren/bad1.png" in message
    assert "bad4.png (not an image) and 2 more. Repair or remove them, or set on_bad_image: skip." in message
    assert "bad5" not in message


def test_one_bad_image_is_named_alone(tmp_path: Path) -> None:
    (birds(tmp_path) / "test" / "wren" / "bad.jpg").touch()
    assert "1 image cannot be decoded: test/wren/bad.jpg (not an image). Repair" in refusal(tmp_path)


def test_a_truncated_image_is_bad(tmp_path: Path) -> None:
    path = birds(tmp_path) / "train" / "wren" / "9.png"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:1000])
    assert "1 image cannot be decoded: train/wren/9.png (" in refusal(tmp_path)


def test_bad_images_can_be_skipped_and_are_recorded(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    (folder / "train" / "wren" / "bad.png").write_bytes(b"no image")
    (folder / "test" / "great_tit" / "bad.png").write_bytes(b"no image")
    info = ingest_birds(tmp_path, on_bad_image="skip")
    assert info.counts == {"train": 6, "test": 4}
    assert info.skipped == (
        ("train/wren/bad.png", "not an image"),
        ("test/great_tit/bad.png", "not an image"),
    )
    assert read_task(tmp_path / "task").skipped == info.skipped


def test_a_class_of_bad_images_only_cannot_be_skipped(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    for path in (folder / "train" / "wren").iterdir():
        path.write_bytes(b"no image")
    assert "no training image of class 'wren' can be decoded" in refusal(tmp_path, on_bad_image="skip")


def test_a_test_split_of_bad_images_only_cannot_be_skipped(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    for path in (folder / "test").rglob("*.png"):
        path.write_bytes(b"no image")
    assert "no test image can be decoded" in refusal(tmp_path, on_bad_image="skip")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "there is no such folder. Put the images there" in refusal(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "birds" / "wren").mkdir(parents=True)
    picture(tmp_path / "birds" / "loose.png")
    assert "its sub-folders have no images. Put them into one folder per class" in refusal(tmp_path)


def test_one_class_is_refused(tmp_path: Path) -> None:
    folder = flat_birds(tmp_path)
    shutil.rmtree(folder / "wren")
    assert "there is only one class (great_tit), but a task needs at least two" in refusal(tmp_path)


def test_an_empty_class_folder_is_left_out_and_named(tmp_path: Path) -> None:
    (flat_birds(tmp_path) / "heron").mkdir()
    info = ingest_birds(tmp_path)
    assert info.class_names == ("great tit", "wren")
    assert info.notes == ("1 class folder without images left out: heron/.",)


def test_a_class_folder_that_is_empty_in_both_splits_is_left_out(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    for split in ("train", "test"):
        (folder / split / "heron" / "deeper").mkdir(parents=True)
    (folder / "test" / "heron" / "notes.txt").touch()
    info = ingest_birds(tmp_path)
    assert info.class_names == ("great tit", "wren")
    assert info.notes == (
        "2 class folders without images left out: train/heron/, test/heron/.",
        "1 file left out: 1 .txt (test/heron/notes.txt).",
    )


def test_a_class_that_only_test_lacks_images_of_is_learned_and_told(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    picture(folder / "train" / "heron" / "0.png")
    (folder / "test" / "heron").mkdir()
    info = ingest_birds(tmp_path)
    assert info.class_names == ("great tit", "heron", "wren")
    assert info.notes == (
        "1 class folder without images left out: test/heron/.", "1 class has no test images: heron.",
    )  # fmt: skip


def test_a_class_that_only_train_lacks_images_of_is_refused(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    picture(folder / "test" / "heron" / "0.png")
    (folder / "train" / "heron").mkdir()
    expected = (
        "class 'heron' is in test/ but not in train/. train/heron/ has no images: add some, or remove test/heron/"
    )
    assert expected in refusal(tmp_path)


def test_a_class_of_images_that_are_not_read_is_refused(tmp_path: Path) -> None:
    folder = birds(tmp_path) / "train" / "heron"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jp2").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n")
    message = refusal(tmp_path)
    assert "class 'heron' has no image with an extension that is read: train/heron/0.jp2, train/heron/1.jp2" in message
    assert "Rename or convert them (.jpg, " in message


def test_a_data_set_of_empty_folders_is_refused(tmp_path: Path) -> None:
    for name in ("heron", "wren"):
        (tmp_path / "birds" / name).mkdir(parents=True)
    assert "birds: its sub-folders have no images" in refusal(tmp_path)


def test_a_class_that_only_test_has_is_refused(tmp_path: Path) -> None:
    picture(birds(tmp_path) / "test" / "heron" / "0.png")
    assert "class 'heron' is in test/ but not in train/" in refusal(tmp_path)


def test_a_class_that_only_train_has_is_learned(tmp_path: Path) -> None:
    picture(birds(tmp_path) / "train" / "heron" / "0.png")
    assert ingest_birds(tmp_path).class_names == ("great tit", "heron", "wren")
    assert [label for _, label in iterate_task(tmp_path / "task", "test")] == [0, 0, 2, 2]


def test_one_split_without_the_other_is_refused(tmp_path: Path) -> None:
    shutil.rmtree(birds(tmp_path) / "test")
    assert "test/ is missing next to the other split" in refusal(tmp_path)


def test_two_folders_of_one_class_name_are_refused(tmp_path: Path) -> None:
    folder = flat_birds(tmp_path)
    shutil.copytree(folder / "great_tit", folder / "great tit")
    message = refusal(tmp_path)
    assert "great tit/, great_tit/ have the same class name, 'great tit'. Rename them, or give them differ" in message


def test_two_folders_that_differ_by_a_hyphen_are_refused_with_their_paths(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    shutil.copytree(folder / "train" / "great_tit", folder / "train" / "great-tit")
    message = refusal(tmp_path)
    assert "train/great-tit/, train/great_tit/ have class names that CLIP can hardly tell apart" in message


def test_a_class_too_small_to_split_is_refused(tmp_path: Path) -> None:
    picture(flat_birds(tmp_path) / "heron" / "0.png")
    assert "class 'heron' has only one image, which cannot be split" in refusal(tmp_path)


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    birds(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(UserError, match=r"^ingest birds: 0\.\d MB are needed .* but only 0\.0 MB are free"):
        ingest_birds(tmp_path)
    assert not (tmp_path / "task").exists()


def test_a_refused_ingest_keeps_the_old_task(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    ingest_birds(tmp_path)
    before = tree_hash(tmp_path / "task")
    (folder / "train" / "wren" / "bad.png").touch()
    with pytest.raises(UserError):
        ingest_birds(tmp_path)
    assert tree_hash(tmp_path / "task") == before


def test_a_file_in_the_folder_names_the_classes(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    (folder / "names.txt").write_text("Kohlmeise\nZaunkönig\n", encoding="utf-8")
    assert ingest_birds(tmp_path, class_names="names.txt").class_names == ("Kohlmeise", "Zaunkönig")


def test_a_mapping_names_the_classes(tmp_path: Path) -> None:
    birds(tmp_path)
    names = {"wren": "Zaunkönig", "great_tit": "Kohlmeise"}
    assert ingest_birds(tmp_path, class_names=names).class_names == ("Kohlmeise", "Zaunkönig")


def test_folders_of_numbers_stay_in_the_order_of_texts(tmp_path: Path) -> None:
    for name in ("1", "2", "10"):
        picture(tmp_path / "birds" / name / "1.png")
        picture(tmp_path / "birds" / name / "2.png")
    assert ingest_birds(tmp_path).class_names == ("1", "10", "2")


def test_only_large_images_are_shrunk_and_others_keep_their_bytes(tmp_path: Path) -> None:
    folder = birds(tmp_path)
    large = folder / "train" / "wren" / "9.jpg"
    Image.effect_noise((80, 60), 50).convert("RGB").save(large)
    stored = IngestConfig(images_per_shard=100, image_format="png", shorter_side=30)
    ingest_birds(tmp_path, ingest_config=stored)
    images = [image for image, _ in iterate_task(tmp_path / "task", "train")]
    assert Image.open(io.BytesIO(images[-1])).size == (40, 30)
    small = sorted((folder / "train").rglob("*.png"))
    assert images[:-1] == [path.read_bytes() for path in small]


def test_the_disk_check_knows_that_images_are_shrunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = birds(tmp_path)
    Image.effect_noise((900, 900), 100).convert("RGB").save(folder / "train" / "wren" / "9.png")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(UserError, match="MB are needed"):
        ingest_birds(tmp_path)
    ingest_birds(tmp_path, ingest_config=IngestConfig(images_per_shard=4, image_format="png", shorter_side=32))
